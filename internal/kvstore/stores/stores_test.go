package stores_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/certtest"
	"github.com/skep/skep/internal/kvstore/stores"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen_readsURLsWithoutWaitingForAStore(t *testing.T) {
	for _, tc := range []struct{ name, scheme, rest, prefix string }{
		{"one host", "etcd", "127.0.0.1:1", ""},
		{"several hosts and a prefix", "etcd", "a:2379,b:2379/swarm", "swarm"},
		{"a slash behind the hosts", "zk", "a:2181,b:2181/", ""},
		{"a longer prefix", "zk", "a:2181/some/where/", "some/where"},
		{"no port", "zk", "a,b", ""},
		{"IPv6", "etcd", "[::1]:2379,[::1]/x", "x"},
		{"an agent of Consul", "consul", "a:8500/x", "x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store, prefix, err := stores.Open(tc.scheme, tc.rest, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if prefix != tc.prefix {
				t.Errorf("prefix %q, want %q", prefix, tc.prefix)
			}
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpen_refuses(t *testing.T) {
	certs := certificates(t)
	some := map[string]string{stores.OptCA: certs[stores.OptCA]}
	noCA := map[string]string{stores.OptCA: certs[stores.OptKey], stores.OptCert: certs[stores.OptCert], stores.OptKey: certs[stores.OptKey]}
	missing := map[string]string{stores.OptCA: "/nowhere", stores.OptCert: certs[stores.OptCert], stores.OptKey: certs[stores.OptKey]}
	for _, tc := range []struct {
		name, scheme, rest string
		opts               map[string]string
		want               string
	}{
		{"another scheme", "redis", "a:1", nil, "redis://a:1: no key-value store has this scheme; skep knows etcd://, consul:// and zk://"},
		{"no address", "etcd", "", nil, "the address of the store is missing"},
		{"no address between commas", "etcd", "a:1,,b:1", nil, "the address of the store is missing"},
		{"a port that is none", "zk", "a:zk", nil, `"a:zk": the port must be a number from 1 to 65535`},
		{"a password", "etcd", "me:secret@a:1", nil, "too many colons"},
		{"white space", "etcd", "a:1, b:1", nil, "white space"},
		{"a prefix with dots", "zk", "a:1/x/../y", nil, `"/x/../y" is no path of a key`},
		{"a prefix with two slashes", "zk", "a:1/x//y", nil, `"/x//y" is no path of a key`},
		{"several agents", "consul", "a:1,b:1", nil, "consul does not support multiple endpoints"},
		{"some of the files for TLS", "etcd", "a:1", some, "kv.certfile and kv.keyfile missing: TLS needs all of kv.cacertfile, kv.certfile and kv.keyfile"},
		{"a file that is no CA", "etcd", "a:1", noCA, "holds no certificate in PEM form"},
		{"a file that is not there", "consul", "a:1", missing, "read kv.cacertfile: open /nowhere: no such file"},
		{"TLS with ZooKeeper", "zk", "a:1", certs, "skep speaks no TLS with ZooKeeper: leave out"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store, _, err := stores.Open(tc.scheme, tc.rest, tc.opts, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if store != nil {
				t.Errorf("an error comes with a %T", store)
			}
		})
	}
}

func TestOpen_takesCertificates(t *testing.T) {
	certs := certificates(t)
	for _, scheme := range []string{"etcd", "consul"} {
		open, _, err := stores.Opener(scheme, "a:1", certs, nil)
		if err != nil {
			t.Fatal(err)
		}
		store, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, seed := range []string{"a:1,b:2/x", "[::1]:2379", "a", ":1", "a:1/../x", "me:x@a:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		store, prefix, err := stores.Open("zk", rest, nil, nil)
		if err != nil {
			return
		}
		if strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") || strings.Contains(prefix, "//") {
			t.Errorf("prefix %q", prefix)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// certificates are the options for a certificate and its CA.
func certificates(t *testing.T) map[string]string {
	t.Helper()
	dir := certtest.NewAuthority(t, "ca").Files("skep")
	return map[string]string{
		stores.OptCA:   filepath.Join(dir, "ca.pem"),
		stores.OptCert: filepath.Join(dir, "cert.pem"),
		stores.OptKey:  filepath.Join(dir, "key.pem"),
	}
}
