//go:build linux

package stores_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/kvstore/stores"
	"github.com/skep/skep/internal/kvstore/storetest"
)

// With access control, who we are is the name in our certificate.
func TestEtcd_isDiscoveryForAUserOfEtcd(t *testing.T) {
	t.Parallel()
	with := certificates(t, "skep")
	server := startSecureEtcd(t, with)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	permit(ctx, t, server, with, "skep", "ours/")

	opts := discovery.Options{Heartbeat: time.Second, TTL: 5 * time.Second, Opts: with}
	url := "etcd://" + server.Address + "/ours"
	manager, engine := watchEntries(t, url, opts), open(t, url, opts)
	for range 2 { // set and renewed
		if err := engine.Register(ctx, "a:1"); err != nil {
			t.Fatal(err)
		}
	}
	manager.await(t, "a:1")
	if err := engine.Deregister(ctx, "a:1"); err != nil {
		t.Error(err)
	}
	manager.await(t)

	astray := open(t, "etcd://"+server.Address+"/others", opts)
	err := astray.Register(ctx, "a:1")
	if err == nil || !strings.Contains(err.Error(), "does not permit") || !strings.Contains(err.Error(), "common name") {
		t.Errorf("where it may not write: %v", err)
	}
	if err := astray.Deregister(ctx, "a:1"); err != nil {
		t.Error(err)
	}
}

// permit switches access control on, and lets a user read and write below a
// prefix.
func permit(ctx context.Context, t *testing.T, server *storetest.Server, with map[string]string, user, prefix string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(with[stores.OptCert], with[stores.OptKey])
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(with[stores.OptCA])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + server.Address}, Logger: zap.NewNop(),
		TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.RoleAdd(ctx, user); return err },
		func() error {
			all := clientv3.PermissionType(clientv3.PermReadWrite)
			_, err := c.RoleGrantPermission(ctx, user, prefix, clientv3.GetPrefixRangeEnd(prefix), all)
			return err
		},
		func() error {
			_, err := c.UserAddWithOptions(ctx, user, "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		},
		func() error { _, err := c.UserGrantRole(ctx, user, user); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}
