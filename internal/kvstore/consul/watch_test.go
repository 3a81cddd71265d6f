//go:build !race

// See announce_test.go for the build tag.

package consul_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul/consultest"
)

// next gives what a watch sends within a second, as text.
func next(news <-chan kvstore.Snapshot) string {
	select {
	case s, ok := <-news:
		switch {
		case !ok:
			return "closed"
		case s.Err != nil:
			return "error: " + s.Err.Error()
		}
		return text(s.Pairs)
	case <-time.After(time.Second):
		return "nothing"
	}
}

func TestWatch_sendsWhatIsThereAndEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		by := raw(t, listenPipes(t, f))
		// What people's tools write beside our keys is not ours.
		for _, key := range []string{"nodes/", "nodes-old/x", "node"} {
			if _, err := by.KV().Put(&api.KVPair{Key: key}, nil); err != nil {
				t.Fatal(err)
			}
		}
		news := s.Watch(t.Context(), "nodes", time.Minute)
		expect(t, "at first", next(news), "")
		expect(t, "then", next(news), "nothing")
		announce(t, s, "nodes/b:1", "b:1", time.Minute)
		expect(t, "one", next(news), "nodes/b:1=b:1")
		announce(t, s, "nodes/a:1", "a:1", 10*time.Minute)
		expect(t, "two, in order", next(news), "nodes/a:1=a:1 nodes/b:1=b:1")
		time.Sleep(2 * time.Minute)
		expect(t, "one has gone", next(news), "nodes/a:1=a:1")
		if err := s.Withdraw(t.Context(), "nodes/a:1"); err != nil {
			t.Fatal(err)
		}
		expect(t, "withdrawn", next(news), "")
		time.Sleep(10 * time.Minute)
		expect(t, "nothing happens", next(news), "nothing")
	})
}

func TestWatch_ofASlowReaderGivesTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, fake(t, consultest.Options{}))
		news := s.Watch(t.Context(), "nodes", time.Minute)
		for _, name := range strings.Fields("a b c d e f") {
			announce(t, s, "nodes/"+name, "", time.Hour)
			time.Sleep(time.Second)
		}
		expect(t, "read late", next(news), "nodes/a= nodes/b= nodes/c= nodes/d= nodes/e= nodes/f=")
		expect(t, "then", next(news), "nothing")
	})
}

func TestWatch_goesOnAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		announce(t, s, "nodes/a:1", "a:1", time.Hour)
		news := s.Watch(t.Context(), "nodes", 10*time.Second)
		expect(t, "at first", next(news), "nodes/a:1=a:1")
		f.Fail(func(*http.Request) (int, string) { return 500, "No cluster leader" })
		announced := make(chan struct{})
		time.AfterFunc(45*time.Second, func() { f.Fail(nil); close(announced) })
		time.Sleep(40 * time.Second)
		expect(t, "without a leader", next(news), "error: consul at 127.0.0.1:8500 failed to watch the keys below nodes/: HTTP status 500: No cluster leader")
		<-announced
		time.Sleep(11 * time.Second)
		for got := next(news); got != "nodes/a:1=a:1"; got = next(news) {
			if !strings.HasPrefix(got, "error") {
				t.Fatalf("with a leader again: %q", got)
			}
		}
	})
}

func TestWatch_ofAStoreThatHangsSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		f.Fail(func(*http.Request) (int, string) { return -1, "" })
		start := time.Now()
		got := <-s.Watch(t.Context(), "nodes", 10*time.Second)
		if got.Err == nil || !strings.Contains(got.Err.Error(), "did not answer in time") {
			t.Errorf("got %v", got)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestWatch_missesNothingWhenTheIndexGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		for range 30 {
			announce(t, s, "nodes/a:1", "a:1", time.Hour)
			if err := s.Withdraw(t.Context(), "nodes/a:1"); err != nil {
				t.Fatal(err)
			}
		}
		announce(t, s, "nodes/b:1", "b:1", time.Hour)
		news := s.Watch(t.Context(), "nodes", time.Second)
		expect(t, "at first", next(news), "nodes/b:1=b:1")
		f.Rewind(5)
		announce(t, s, "nodes/c:1", "c:1", time.Hour)
		time.Sleep(35 * time.Second)
		expect(t, "after a restored snapshot", next(news), "nodes/b:1=b:1 nodes/c:1=c:1")
		announce(t, s, "nodes/d:1", "d:1", time.Hour)
		expect(t, "and at once again", next(news), "nodes/b:1=b:1 nodes/c:1=c:1 nodes/d:1=d:1")
	})
}

// hasty never waits, as an agent with a broken index.
type hasty struct {
	http.Handler
	asked atomic.Int64
}

func (h *hasty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.asked.Add(1)
	q := r.URL.Query()
	q.Del("index")
	r.URL.RawQuery = q.Encode()
	h.Handler.ServeHTTP(w, r)
}

func TestWatch_doesNotFloodAServerThatNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hasty{Handler: fake(t, consultest.Options{})}
		s := open(t, h)
		news := s.Watch(t.Context(), "nodes", time.Second)
		expect(t, "at first", next(news), "")
		time.Sleep(time.Minute)
		if n := h.asked.Load(); n > 300 {
			t.Errorf("%d requests in a minute", n)
		}
		expect(t, "then", next(news), "nothing")
	})
}

func TestWatch_endsWithItsContextAndSaysThatTheStoreIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, fake(t, consultest.Options{}))
		ctx, cancel := context.WithCancel(t.Context())
		first, second := s.Watch(ctx, "nodes", time.Second), s.Watch(t.Context(), "nodes", time.Second)
		expect(t, "first", next(first), "")
		expect(t, "second", next(second), "")
		cancel()
		expect(t, "first, cancelled", next(first), "closed")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, news := range []<-chan kvstore.Snapshot{second, s.Watch(t.Context(), "nodes", time.Second)} {
			if got := next(news); !strings.Contains(got, "this connection is closed") {
				t.Errorf("a watch of a closed store: %q", got)
			}
		}
	})
}
