//go:build !race

// Timers of synctest are known to crash under the race detector before Go 1.27.

package kvstore_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skep/skep/internal/kvstore"
)

const ttl = 30 * time.Second

// lostAfter gives the time after which a lock is lost, at most an hour.
func lostAfter(t *testing.T, renew func(ctx context.Context, since time.Duration) error) time.Duration {
	t.Helper()
	var lost time.Duration
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		k := kvstore.NewKeeper(ttl, began, func(ctx context.Context) error { return renew(ctx, time.Since(began)) })
		defer k.Stop()
		select {
		case <-k.Lost():
		case <-time.After(time.Hour):
		}
		lost = time.Since(began)
	})
	return lost
}

func TestKeeper_keepsWhatIsRenewed(t *testing.T) {
	calls := 0
	got := lostAfter(t, func(context.Context, time.Duration) error { calls++; return nil })
	if got != time.Hour {
		t.Errorf("lost after %v", got)
	}
	if want := int(time.Hour / (ttl / 3)); calls < want-1 || calls > want+1 {
		t.Errorf("%d renewals, want about %d", calls, want)
	}
}

func TestKeeper_losesAtOnceWhatTheStoreHasTaken(t *testing.T) {
	if got := lostAfter(t, func(context.Context, time.Duration) error { return kvstore.ErrLost }); got != ttl/3 {
		t.Errorf("lost after %v", got)
	}
}

func TestKeeper_loseWhenTheTimeIsOverThoughRenewalsFail(t *testing.T) {
	calls := 0
	got := lostAfter(t, func(context.Context, time.Duration) error { calls++; return errors.New("refused") })
	if got != ttl {
		t.Errorf("lost after %v", got)
	}
	if calls < 5 {
		t.Errorf("only %d tries", calls)
	}
}

func TestKeeper_losesInTimeThoughRenewalsHang(t *testing.T) {
	got := lostAfter(t, func(ctx context.Context, _ time.Duration) error { <-ctx.Done(); return ctx.Err() })
	if got != ttl {
		t.Errorf("lost after %v", got)
	}
}

func TestKeeper_countsFromTheSendingOfARenewalNotFromItsAnswer(t *testing.T) {
	got := lostAfter(t, func(ctx context.Context, since time.Duration) error {
		if since > ttl/3 {
			return errors.New("refused")
		}
		time.Sleep(5 * time.Second) // until the answer
		return nil
	})
	if want := ttl/3 + ttl; got != want {
		t.Errorf("lost after %v, want %v", got, want)
	}
}

func TestKeeper_forgivesAFailureThatPasses(t *testing.T) {
	got := lostAfter(t, func(_ context.Context, since time.Duration) error {
		if since < ttl*2/3 {
			return errors.New("refused")
		}
		return nil
	})
	if got != time.Hour {
		t.Errorf("lost after %v", got)
	}
}

func TestKeeper_hasLostWhatWasAnsweredTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := kvstore.NewKeeper(ttl, time.Now().Add(-2*ttl), func(context.Context) error { return nil })
		synctest.Wait()
		select {
		case <-k.Lost():
		default:
			t.Error("a lock whose time was over at the start is held")
		}
		k.Stop()
	})
}

func TestKeeper_isLostByTheClock_whoeverRunsFirst(t *testing.T) {
	// As a process finds it that was stopped: no goroutine had its turn yet.
	waiting := make(chan struct{})
	k := kvstore.NewKeeper(ttl, time.Now().Add(-2*ttl), func(ctx context.Context) error { <-waiting; return nil })
	select {
	case <-k.Lost():
	default:
		t.Error("the lock is held for longer than it lasts")
	}
	close(waiting)
	k.Stop()
}
