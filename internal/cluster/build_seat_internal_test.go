//go:build !race

// Timers of testing/synctest crash under the race detector before Go 1.27.

package cluster

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

func mustHold(t *testing.T, table *seats, id string) *seat {
	t.Helper()
	s, err := table.hold(seatID{sessionSeat, id})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSeats_waitEndsWithTheTimeTheClientOrTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &seats{}
		s := mustHold(t, table, "a")
		began := time.Now()
		if e, err := table.wait(t.Context(), s); e != nil || err != nil || time.Since(began) != seatWait {
			t.Errorf("%v, %v after %s", e, err, time.Since(began))
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := table.wait(gone, s); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		go func() {
			time.Sleep(time.Second)
			table.refuse(s, fail(errdefs.ErrConflict, "no room"))
		}()
		began = time.Now()
		if _, err := table.wait(t.Context(), s); !errdefs.IsConflict(err) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestSeats_areForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &seats{}
		s := mustHold(t, table, "never decided")
		table.leave(s)
		if len(table.byID) != 0 {
			t.Error("a seat is kept that nobody has taken")
		}
		s = mustHold(t, table, "refused")
		table.refuse(s, errors.New("no"))
		table.leave(s)
		time.Sleep(seatLinger / 2)
		if again := mustHold(t, table, "refused"); again != s {
			t.Error("a seat is forgotten too early")
		}
		table.leave(s)
		time.Sleep(seatLinger + time.Second)
		if again := mustHold(t, table, "refused"); again == s {
			t.Error("a seat is known for longer than it should")
		}
	})
}

func TestSeats_areBoundedAndTheLongestIdleMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &seats{}
		var all []*seat
		for i := range manySeats {
			all = append(all, mustHold(t, table, strconv.Itoa(i)))
		}
		if _, err := table.hold(seatID{buildSeat, "0"}); !errdefs.IsUnavailable(err) {
			t.Errorf("one more seat: %v", err)
		}
		for _, i := range []int{7, 3} {
			table.refuse(all[i], errors.New("no"))
			table.leave(all[i])
			time.Sleep(time.Minute)
		}
		if _, err := table.hold(seatID{buildSeat, "0"}); err != nil {
			t.Error(err)
		}
		if table.byID[seatID{sessionSeat, "7"}] != nil || table.byID[seatID{sessionSeat, "3"}] == nil {
			t.Error("it was not the longest idle that made room")
		}
	})
}
