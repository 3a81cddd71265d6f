//go:build !race

// See announce_test.go for the build tag.

package consul_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul"
	"github.com/skep/skep/internal/kvstore/consul/consultest"
	"github.com/skep/skep/internal/kvstore/kvtest"
)

// There is no agent to test against, so the suite that all stores pass runs
// against what Consul's documentation says of one.
func TestStore_keepsThePromisesOfAllStores(t *testing.T) {
	var (
		f     *consultest.Server
		whole *cable
		agent *pipes
	)
	// Not a store that ends with the test: the suite closes it.
	store := func(t *testing.T, agent *pipes) kvstore.Store {
		s, err := consul.New("127.0.0.1:8500", consul.Options{Timeout: 2 * time.Second, Dial: agent.dial})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	kvtest.Suite{
		Around: func(t *testing.T, test func(*testing.T)) {
			synctest.Test(t, func(t *testing.T) {
				f = fake(t, consultest.Options{SessionTTLMin: time.Second})
				whole = plug(t, f)
				agent = listenPipes(t, whole)
				test(t)
			})
		},
		Open: func(t *testing.T) kvstore.Store { return store(t, agent) },
		OpenCut: func(t *testing.T) (kvstore.Store, func()) {
			way := plug(t, f)
			return store(t, listenPipes(t, way)), way.tear
		},
		Pause:   func(*testing.T) { whole.tear() },
		Resume:  func(*testing.T) { whole.mend() },
		Restart: func(*testing.T) { agent.hangUp() },
		TTL:     2 * time.Second,
		Slack:   time.Second,
	}.Run(t)
}
