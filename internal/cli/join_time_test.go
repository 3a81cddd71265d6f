// The race detector of Go 1.26 crashes on timers inside a synctest bubble
// (fixed in Go 1.27), so these tests stay out of the race run.
//go:build !race

package cli

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skep/skep/internal/discovery"
)

// joinFor runs a join that is interrupted after a time, and gives how long it
// took and what was logged.
func joinFor(t *testing.T, r *recorder, delay, interrupt time.Duration) (took time.Duration, logged string) {
	t.Helper()
	var log bytes.Buffer
	j := &joining{backend: r, addr: "a:1", heartbeat: 60 * time.Second, ttl: 180 * time.Second, delay: delay, logger: slog.New(slog.NewTextHandler(&log, nil))}
	ctx, cancel := context.WithTimeout(t.Context(), interrupt)
	defer cancel()
	r.begin = time.Now()
	if err := j.run(ctx); err != nil {
		t.Errorf("error %v", err)
	}
	if r.closed != 1 {
		t.Errorf("the connection to the store was closed %d times", r.closed)
	}
	return time.Since(r.begin), log.String()
}

func TestJoin_announcesAtEachHeartbeatAndTakesBackAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{register: works, deregister: works}
		_, log := joinFor(t, r, 0, 150*time.Second)
		r.want(t, "+a:1 0s", "+a:1 1m0s", "+a:1 2m0s", "-a:1 2m30s")
		if strings.Count(log, "Registering on the discovery service every 1m0s...") != 3 {
			t.Errorf("logged %s", log)
		}
	})
}

func TestJoin_goesOnWhileTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{register: fails, deregister: fails}
		took, log := joinFor(t, r, 0, 150*time.Second)
		r.want(t, "+a:1 0s", "+a:1 1m0s", "+a:1 2m0s", "-a:1 2m30s")
		if took != 150*time.Second || strings.Count(log, "no quorum") != 4 {
			t.Errorf("after %s: %s", took, log)
		}
	})
}

func TestJoin_waitsForNoStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{register: hangs, deregister: hangs}
		took, _ := joinFor(t, r, 0, 75*time.Second)
		r.want(t, "+a:1 0s", "+a:1 1m10s", "-a:1 1m15s")
		if took != 80*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestJoin_endsDuringItsDelayWithoutACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{register: works, deregister: works}
		if took, _ := joinFor(t, r, 1000000*time.Hour, time.Nanosecond); took != time.Nanosecond {
			t.Errorf("took %s", took)
		}
		r.want(t)
	})
}

func TestJoin_delaysTheFirstCallAtMostByItsDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first time.Duration
		r := &recorder{deregister: works}
		r.register = func(context.Context) error {
			first = time.Since(r.begin)
			return nil
		}
		joinFor(t, r, 10*time.Second, 30*time.Second)
		if first < 0 || first >= 10*time.Second {
			t.Errorf("first call after %s", first)
		}
	})
}

func TestJoin_saysAtEachHeartbeatThatAFileTakesNoAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := func(context.Context) error { return discovery.ErrNotImplemented }
		r := &recorder{register: none, deregister: none}
		_, log := joinFor(t, r, 0, 90*time.Second)
		if strings.Count(log, "not implemented in this discovery service") != 2 {
			t.Errorf("logged %s", log)
		}
	})
}
