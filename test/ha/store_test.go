//go:build linux

package ha_test

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/kvstore/consul/consultest"
	"github.com/skep/skep/internal/kvstore/storetest"
)

// store is what keeps the election and the engines' addresses.
type store struct {
	scheme  string // of the discovery URL
	address string
	server  *storetest.Server // nil if it is no process of its own
}

func startEtcd(t *testing.T) *store {
	t.Helper()
	server := storetest.StartEtcd(t)
	return &store{"etcd", server.Address, server}
}

func startZooKeeper(t *testing.T) *store {
	t.Helper()
	server := storetest.StartZooKeeper(t)
	return &store{"zk", server.Address, server}
}

// startConsul starts a server that answers as an agent of Consul does, within
// the process of the tests, and lets sessions be short.
func startConsul(t *testing.T) *store {
	t.Helper()
	agent := consultest.New(consultest.Options{SessionTTLMin: time.Second, Strict: true})
	server := httptest.NewServer(agent)
	t.Cleanup(func() { agent.Close(); server.CloseClientConnections(); server.Close() })
	return &store{scheme: "consul", address: strings.TrimPrefix(server.URL, "http://")}
}

// tail gives the end of a file.
func tail(path string, most int) string {
	text, _ := os.ReadFile(path)
	return string(text[max(0, len(text)-most):])
}
