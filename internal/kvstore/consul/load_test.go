//go:build !race

// See announce_test.go for the build tag.

package consul_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul"
	"github.com/skep/skep/internal/kvstore/consul/consultest"
)

// A hundred engines announce themselves and a fifth of them come and go, while
// Consul loses its leader, limits rates, hangs, forgets sessions and counts
// anew. A watch has the right list in the end.
func TestStore_keepsManyEnginesThroughFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{SessionTTLMin: time.Second})
		way := plug(t, f)
		agent := listenPipes(t, way)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		o := consul.Options{Timeout: 2 * time.Second, Dial: agent.dial}
		news := dial(t, "127.0.0.1:8500", o).Watch(ctx, "nodes", time.Second)

		settle := make(chan struct{})
		var engines sync.WaitGroup
		defer engines.Wait()
		defer cancel()
		var all []string
		for i := range 100 {
			name := fmt.Sprintf("10.0.0.%03d:2375", i)
			all = append(all, "nodes/"+name+"="+name)
			s := dial(t, "127.0.0.1:8500", o)
			engines.Go(func() {
				for ctx.Err() == nil {
					_ = s.Announce(ctx, kvstore.Pair{Key: "nodes/" + name, Value: name}, time.Minute)
					rest(ctx, 100*time.Millisecond+rand.N(200*time.Millisecond))
					select {
					case <-settle:
					default:
						if i%5 == 0 {
							_ = s.Withdraw(ctx, "nodes/"+name)
						}
					}
				}
			})
		}
		for _, failure := range []struct{ harm, mend func() }{
			{func() { f.Fail(status(500, "No cluster leader")) }, func() { f.Fail(nil) }},
			{func() { f.Fail(status(429, "Your IP is issuing too many concurrent connections")) }, func() { f.Fail(nil) }},
			{func() { f.Fail(status(503, "Unable to perform request")) }, func() { f.Fail(nil) }},
			{way.tear, way.mend},
			{func() { f.Expire(f.Holder("nodes/10.0.0.001:2375")) }, func() {}},
			{func() { f.Rewind(5) }, func() {}},
		} {
			rest(ctx, 300*time.Millisecond)
			failure.harm()
			rest(ctx, 300*time.Millisecond)
			failure.mend()
		}
		close(settle)
		want, last := strings.Join(all, " "), ""
		for now := range news {
			if last = text(now.Pairs); now.Err == nil && last == want {
				break
			}
		}
		expect(t, "in the end", last, want)
		if n := len(f.Sessions()); n > len(all)+5 {
			t.Errorf("%d sessions for %d engines", n, len(all))
		}
	})
}

func status(code int, text string) func(*http.Request) (int, string) {
	return func(*http.Request) (int, string) { return code, text }
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
