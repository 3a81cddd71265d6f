// The race detector of Go 1.26 crashes on timers inside a synctest bubble
// (fixed in Go 1.27), so these tests stay out of the race run.
//go:build !race

package cli

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skep/skep/internal/discovery"
)

// silent is a discovery service that never answers.
type silent struct{ discovery.Backend }

func (silent) Watch(ctx context.Context) <-chan discovery.Update {
	updates := make(chan discovery.Update)
	context.AfterFunc(ctx, func() { close(updates) })
	return updates
}

func TestFirstEntries_givesUpAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := firstEntries(t.Context(), silent{}, 10*time.Second)
		if took := time.Since(start); message(err) != "Timed out" || took != 10*time.Second {
			t.Errorf("error %v after %s", err, took)
		}
	})
}

func TestFirstEntries_endsWithTheInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, interrupt)
		if _, err := firstEntries(ctx, silent{}, 10*time.Second); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}
