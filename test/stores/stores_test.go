//go:build linux

package stores_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/etcd"
	"github.com/skep/skep/internal/kvstore/kvtest"
	"github.com/skep/skep/internal/kvstore/zk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEtcd_keepsWhatStoresPromise(t *testing.T) {
	server := startEtcd(t)
	suite(server, func(t *testing.T, address string) kvstore.Store {
		s, err := etcd.New([]string{address}, etcd.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}).Run(t)
}

func TestZookeeper_keepsWhatStoresPromise(t *testing.T) {
	server := startZookeeper(t)
	suite(server, func(t *testing.T, address string) kvstore.Store {
		s, err := zk.New([]string{address}, zk.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}).Run(t)
}

func suite(server *server, open func(t *testing.T, address string) kvstore.Store) kvtest.Suite {
	return kvtest.Suite{
		Open: func(t *testing.T) kvstore.Store { return open(t, server.address) },
		OpenCut: func(t *testing.T) (kvstore.Store, func()) {
			way := startRelay(t, server.address)
			return open(t, way.address()), way.pull
		},
		Pause:   server.pause,
		Resume:  server.resume,
		Restart: server.restart,
		TTL:     3 * time.Second,
		Slack:   4 * time.Second,
	}
}
