//go:build !race

// Timers of synctest are known to crash under the race detector before Go 1.27.

package kv_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/kvstore"
)

func TestWatch_givesEnginesAHeartbeatAfterTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		updates := watching(t, backend(t, f, "", discovery.Options{Heartbeat: time.Minute}))
		f.snapshots <- listed("a:1", "b:1")
		wantEntries(t, updates, "a:1", "b:1")
		f.snapshots <- kvstore.Snapshot{Err: errors.New("down")}
		wantError(t, updates, "down")

		back := time.Now()
		f.snapshots <- listed() // all announcements had run out
		f.snapshots <- listed("a:1")
		wantEntries(t, updates, "a:1")
		if got := time.Since(back); got != time.Minute {
			t.Errorf("b was taken away after %v", got)
		}
		f.snapshots <- listed() // and now it is meant
		wantEntries(t, updates)
	})
}
