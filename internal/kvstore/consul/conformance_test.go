package consul_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul"
	"github.com/skep/skep/internal/kvstore/consul/consultest"
	"github.com/skep/skep/internal/kvstore/kvtest"
)

// There is no agent to test against, so the suite that all stores pass runs
// against what Consul's documentation says of one.
func TestStore_keepsThePromisesOfAllStores(t *testing.T) {
	f := fake(t, consultest.Options{SessionTTLMin: time.Second})
	whole := plug(t, f)
	server := httptest.NewServer(whole)
	t.Cleanup(server.Close)
	kvtest.Suite{
		Open: func(t *testing.T) kvstore.Store { return store(t, server.URL) },
		OpenCut: func(t *testing.T) (kvstore.Store, func()) {
			way := plug(t, f)
			own := httptest.NewServer(way)
			t.Cleanup(own.Close)
			return store(t, own.URL), way.tear
		},
		Pause:   func(*testing.T) { whole.tear() },
		Resume:  func(*testing.T) { whole.mend() },
		Restart: func(*testing.T) { server.CloseClientConnections() },
		TTL:     2 * time.Second,
		Slack:   time.Second,
	}.Run(t)
}

func store(t *testing.T, url string) *consul.Store {
	t.Helper()
	s, err := consul.New(strings.TrimPrefix(url, "http://"), consul.Options{Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
