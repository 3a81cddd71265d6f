package engine

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Probes of many engines come together, and never later than promised.
func TestOnBeat_endsOnABeatAndNotLater(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		began := time.Unix(0, rapid.Int64Range(0, 1<<61).Draw(t, "began"))
		d := time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "d"))
		got := onBeat(began, d)
		if got > d || d-got >= beat {
			t.Errorf("%s has become %s", d, got)
		}
		if d >= 10*beat && began.Add(got).UnixNano()%int64(beat) != 0 || d < 10*beat && got != d {
			t.Errorf("%s after %s is on no beat", got, began)
		}
	})
}
