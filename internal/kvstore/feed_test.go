//go:build !race

// See keeper_test.go for the build tag.

package kvstore_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/kvstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func list(name string) kvstore.Snapshot {
	return kvstore.Snapshot{Pairs: []kvstore.Pair{{Key: name, Value: name}}}
}

// feeding sends and fails as the snapshots say, and then reads what is left of them.
func feeding(t *testing.T, retry time.Duration, sent ...kvstore.Snapshot) (got []kvstore.Snapshot) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		all := make(chan struct{})
		feed := kvstore.Feed(ctx, retry, func(ctx context.Context, send func([]kvstore.Pair)) error {
			for len(sent) > 0 {
				s := sent[0]
				if sent = sent[1:]; s.Err != nil {
					return s.Err
				}
				send(s.Pairs)
			}
			close(all)
			<-ctx.Done()
			return nil
		})
		<-all
		for {
			synctest.Wait()
			select {
			case s := <-feed:
				got = append(got, s)
				continue
			default:
			}
			cancel()
			for range feed {
				t.Error("a snapshot after the end")
			}
			return
		}
	})
	return got
}

func TestFeed_keepsTheLatestListForASlowReader(t *testing.T) {
	got := feeding(t, time.Hour, list("a"), list("b"), list("c"))
	if diff := cmp.Diff([]kvstore.Snapshot{list("c")}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFeed_losesNoListToAnError(t *testing.T) {
	down := errors.New("down")
	got := feeding(t, time.Hour, list("a"), kvstore.Snapshot{Err: down})
	if len(got) != 2 || got[0].Err != nil || got[1].Err != down {
		t.Errorf("got %v", got)
	}
	got = feeding(t, time.Hour, kvstore.Snapshot{Err: down}, list("a"))
	if len(got) != 2 || got[0].Err != down || got[1].Err != nil {
		t.Errorf("got %v", got)
	}
}

func TestFeed_tellsOnceThatAStoreIsDown(t *testing.T) {
	first, second := errors.New("down"), errors.New("still down")
	got := feeding(t, time.Hour, kvstore.Snapshot{Err: first}, kvstore.Snapshot{Err: second})
	if len(got) != 1 || got[0].Err != first {
		t.Errorf("got %v", got)
	}
	got = feeding(t, time.Hour, kvstore.Snapshot{Err: first}, list("a"), kvstore.Snapshot{Err: second})
	if len(got) != 2 || got[1].Err != second {
		t.Errorf("after a list, an error is news again: got %v", got)
	}
}

func TestFeed_triesAStoreThatIsDownAgainSoonAndOneThatIsNotAtOnce(t *testing.T) {
	for _, tc := range []struct {
		name        string
		retry, want time.Duration
		err         error
	}{
		{"down, with a long time between tries", time.Hour, time.Second, errors.New("down")},
		{"down, with a short one", 10 * time.Millisecond, 10 * time.Millisecond, errors.New("down")},
		{"not down", time.Hour, 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var tries []time.Time
				for range kvstore.Feed(ctx, tc.retry, func(context.Context, func([]kvstore.Pair)) error {
					if tries = append(tries, time.Now()); len(tries) == 2 {
						cancel()
					}
					return tc.err
				}) {
					// Until it is closed.
				}
				if got := tries[1].Sub(tries[0]); got != tc.want {
					t.Errorf("tried again after %v, want %v", got, tc.want)
				}
			})
		})
	}
}
