//go:build linux

package ha_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/kvstore/storetest"
)

func (c *cluster) storeFails(t *testing.T) {
	t.Run("the store is killed and comes back", func(t *testing.T) {
		c.loseStore(t, c.store.scheme == "etcd", func(*testing.T) { c.store.server.Kill() }, c.store.server.Start)
	})
	t.Run("the store hangs", func(t *testing.T) {
		c.loseStore(t, false, c.store.server.Pause, c.store.server.Resume)
	})
	c.storeIsCutOff(t)
}

// storeIsCutOff is what can befall a store that is no process of its own, too.
func (c *cluster) storeIsCutOff(t *testing.T) {
	t.Run("the network between managers and store is cut", func(t *testing.T) {
		ways := []*storetest.Relay{c.way}
		for _, m := range c.managers {
			ways = append(ways, m.way)
		}
		c.loseStore(t, false,
			func(*testing.T) {
				for _, w := range ways {
					w.Pull()
				}
			},
			func(*testing.T) {
				for _, w := range ways {
					w.Repair()
				}
			})
	})
	t.Run("the primary alone is cut off the store", c.cutPrimary)
}

// loseStore takes the store away for longer than the TTL; with patience, for as
// long as users wait for a primary.
func (c *cluster) loseStore(t *testing.T, patience bool, breaks, mends func(t *testing.T)) {
	primary, replicas := c.awaitAll(t)
	defer c.sweep(t)
	mended := false
	defer func() {
		if !mended {
			mends(t)
		}
	}()
	l := startLoad(t, c.own("store"), c.managers...)
	primary.carries(t, l)
	lost := time.Now()
	breaks(t)
	primary.becomes(t, "replica", ttl+time.Second)
	t.Logf("the primary stops acting %s after the loss", time.Since(lost).Round(time.Millisecond))
	l.stop()
	for _, m := range append(replicas, primary) {
		o, err := m.outlook(t.Context())
		if err != nil {
			t.Error(err)
		}
		if o.role != "replica" || len(o.engines) != machines {
			t.Errorf("%s without the store: %+v", m.name, o)
		}
		began := time.Now()
		if status, text := m.call(t, prompt, http.MethodGet, "/containers/json?all=1", ""); status != http.StatusOK || !strings.Contains(text, c.own("store-m1-0")) {
			t.Errorf("%s without the store: docker ps gives %d %.300s", m.name, status, text)
		}
		t.Logf("%s without the store: docker ps takes %s", m.name, time.Since(began).Round(time.Millisecond))
	}
	orders := make(chan create, 1)
	go func() { orders <- createVia(primary, c.own("order")) }()
	if patience {
		refused := <-orders
		t.Logf("a create without the store: %s", refused)
		if refused.status != http.StatusServiceUnavailable || !strings.Contains(refused.message, "Unable to reach primary cluster manager") {
			t.Errorf("a create without the store is answered by %s", refused)
		}
	}
	mends(t)
	mended = true
	back := time.Now()
	c.awaitAll(t)
	l2 := startLoad(t, c.own("after"), c.managers...)
	l2.servedAfter(t, back, primary, ttl+10*time.Second)
	t.Logf("all is well %s after the store is back", time.Since(back).Round(time.Millisecond))
	if !patience {
		if made := <-orders; !made.acknowledged() {
			t.Errorf("a create that has waited for the store is answered by %s", made)
		}
	}
	c.judge(t, append(l.finish(), l2.finish()...))
}

// cutPrimary: another takes over, and only after this one has stopped.
func (c *cluster) cutPrimary(t *testing.T) {
	primary, replicas := c.awaitAll(t)
	defer c.sweep(t)
	defer primary.way.Repair()
	l := startLoad(t, c.own("cut"), c.managers...)
	primary.carries(t, l)
	lost := time.Now()
	primary.way.Pull()
	primary.becomes(t, "replica", ttl+time.Second)
	t.Logf("it stops acting %s after the cut", time.Since(lost).Round(time.Millisecond))
	served := l.servedAfter(t, lost.Add(ttl), replicas[0], grace+time.Second)
	t.Logf("a create that was sent when the lock had run out succeeds after %s", (ttl + served).Round(time.Millisecond))
	primary.way.Repair()
	c.awaitAll(t)
	c.judge(t, l.finish())
}
