//go:build linux

package stores_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/kvstore/storetest"
)

func TestEtcd_isDiscoveryWithCertificates(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, "")
	secure := storetest.StartSecureEtcd(t, cert, key)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	opts := discovery.Options{Heartbeat: time.Second, Opts: map[string]string{
		"kv.cacertfile": cert, "kv.certfile": cert, "kv.keyfile": key,
	}}
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

// certificate gives the files of a certificate for both sides that signs itself,
// with a common name, and of its key.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "EC PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
