package cluster

import (
	"testing"
	"time"
)

func TestProbeInterval_growsWithTheEnginesWithinBounds(t *testing.T) {
	for engines, want := range map[int]time.Duration{
		0: 3 * time.Second, 1: 3 * time.Second, 450: 3 * time.Second, 600: 4 * time.Second, 1000: 6500 * time.Millisecond, 50_000: 6500 * time.Millisecond,
	} {
		if got := probeInterval(engines); got != want {
			t.Errorf("%d engines are probed every %s, not every %s", engines, got, want)
		}
	}
}
