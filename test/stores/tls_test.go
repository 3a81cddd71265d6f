//go:build linux

package stores_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/skep/skep/internal/certtest"
	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/kvstore/stores"
	"github.com/skep/skep/internal/kvstore/storetest"
)

func TestEtcd_isDiscoveryWithCertificates(t *testing.T) {
	t.Parallel()
	with := certificates(t, "skep")
	secure := startSecureEtcd(t, with)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	opts := discovery.Options{Heartbeat: time.Second, Opts: with}
	b := open(t, "etcd://"+secure.Address, opts)
	updates := b.Watch(ctx)
	defer func() {
		cancel()
		for range updates {
			// Until it is closed.
		}
	}()
	for b.Register(ctx, "10.0.0.1:2375") != nil && ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond) // it has yet to elect itself
	}
	await(t, updates, func(u discovery.Update) bool {
		return slices.Equal(u.Entries, discovery.Entries{"10.0.0.1:2375"})
	})
	if err := b.Deregister(ctx, "10.0.0.1:2375"); err != nil {
		t.Error(err)
	}
	opts.Opts = nil
	stranger := open(t, "etcd://"+secure.Address, opts)
	err := stranger.Register(ctx, "10.0.0.1:2375")
	if err == nil {
		t.Error("without certificates, no error")
	}
	t.Log(err)
	if err := stranger.Deregister(ctx, "10.0.0.1:2375"); err != nil {
		t.Error(err)
	}
}

// certificates are the options of somebody with a certificate of this name for
// both sides.
func certificates(t *testing.T, name string) map[string]string {
	t.Helper()
	dir := certtest.NewAuthority(t, "ca").Files(name)
	return map[string]string{
		stores.OptCA:   filepath.Join(dir, "ca.pem"),
		stores.OptCert: filepath.Join(dir, "cert.pem"),
		stores.OptKey:  filepath.Join(dir, "key.pem"),
	}
}

// startSecureEtcd starts an etcd with the certificate that its clients have.
func startSecureEtcd(t *testing.T, with map[string]string) *storetest.Server {
	t.Helper()
	return storetest.StartSecureEtcd(t, with[stores.OptCA], with[stores.OptCert], with[stores.OptKey])
}
