package kvstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/kvstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func list(name string) kvstore.Snapshot {
	return kvstore.Snapshot{Pairs: []kvstore.Pair{{Key: name, Value: name}}}
}

// feeding sends the snapshots, and then reads what is left of them.
func feeding(t *testing.T, retry time.Duration, sent ...kvstore.Snapshot) []kvstore.Snapshot {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all := make(chan struct{})
	feed := kvstore.Feed(ctx, retry, func(ctx context.Context, send func(kvstore.Snapshot)) {
		for _, s := range sent {
			send(s)
		}
		close(all)
		<-ctx.Done()
	})
	<-all
	var got []kvstore.Snapshot
	for {
		select {
		case s := <-feed:
			got = append(got, s)
		case <-time.After(100 * time.Millisecond):
			cancel()
			for range feed {
				t.Error("a snapshot after the end")
			}
			return got
		}
	}
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
