//go:build linux

package stores_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/cli"
	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/etcd"
	"github.com/skep/skep/internal/kvstore/kvtest"
	"github.com/skep/skep/internal/kvstore/storetest"
	"github.com/skep/skep/internal/kvstore/zk"
)

func TestMain(m *testing.M) {
	if os.Getenv(asSkep) != "" {
		os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	flag.Parse()
	// These tests wait for servers nearly all the time.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// callTimeout is shorter than people have it: a server that hangs is waited for
// in many tests.
const callTimeout = 2 * time.Second

func TestEtcd_keepsWhatStoresPromise(t *testing.T) {
	t.Parallel()
	server := storetest.StartEtcd(t)
	suite(server, func(t *testing.T, address string) kvstore.Store {
		s, err := etcd.New([]string{address}, etcd.Options{Timeout: callTimeout})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}).Run(t)
}

func TestZookeeper_keepsWhatStoresPromise(t *testing.T) {
	t.Parallel()
	server := storetest.StartZooKeeper(t)
	suite(server, func(t *testing.T, address string) kvstore.Store {
		s, err := zk.New([]string{address}, zk.Options{Timeout: callTimeout})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}).Run(t)
}

func suite(server *storetest.Server, open func(t *testing.T, address string) kvstore.Store) kvtest.Suite {
	return kvtest.Suite{
		Open: func(t *testing.T) kvstore.Store { return open(t, server.Address) },
		OpenCut: func(t *testing.T) (kvstore.Store, func()) {
			way := storetest.StartRelay(t, server.Address)
			return open(t, way.Address()), way.Pull
		},
		Pause:   server.Pause,
		Resume:  server.Resume,
		Restart: server.Restart,
		Wipe:    server.Wipe,
		Busy:    true,
		TTL:     3 * time.Second,
		Slack:   3 * time.Second,
	}
}
