package backends_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/backends"
	"github.com/skep/skep/internal/discovery/file"
	"github.com/skep/skep/internal/discovery/kv"
	"github.com/skep/skep/internal/kvstore/consul/consultest"
)

func TestNew_readsListsOfAddresses(t *testing.T) {
	for _, tc := range []struct {
		name, url string
		want      discovery.Entries
	}{
		{"without a scheme", "a:1,b:2", discovery.Entries{"a:1", "b:2"}},
		{"with a scheme", "nodes://a:1,b:2", discovery.Entries{"a:1", "b:2"}},
		{"with a socket behind the scheme", "nodes://unix:///run/docker.sock", discovery.Entries{"unix:///run/docker.sock"}},
		{"a socket alone", "unix:///run/docker.sock,a:1", discovery.Entries{"unix:///run/docker.sock", "a:1"}},
		{"a socket later in the list", "a:1,unix:///run/docker.sock", discovery.Entries{"a:1", "unix:///run/docker.sock"}},
		{"as DOCKER_HOST has it", "tcp://a:1", discovery.Entries{"a:1"}},
		{"IPv6", "[::1]:1,tcp://[::2]:1", discovery.Entries{"[::1]:1", "[::2]:1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := backends.New(tc.url, discovery.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if diff := cmp.Diff(discovery.Update{Entries: tc.want}, <-b.Watch(ctx)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNew_knowsFiles(t *testing.T) {
	b, err := backends.New("file://"+filepath.Join(t.TempDir(), "engines"), discovery.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.(*file.Backend); !ok {
		t.Errorf("got a %T", b)
	}
}

func TestNew_knowsStores(t *testing.T) {
	for _, url := range []string{"etcd://a:1,b:2/prefix", "consul://a:1", "zk://a:1,b:1/some/where"} {
		b, err := backends.New(url, discovery.Options{Opts: map[string]string{"kv.path": "nodes"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := b.(*kv.Backend); !ok {
			t.Errorf("%s: got a %T", url, b)
		}
	}
}

// The time for which an address is listed is not the one that was asked for, and
// who asked has to learn it.
func TestRegister_logsThatConsulTakesNoTTLAsShort(t *testing.T) {
	f := consultest.New(consultest.Options{})
	defer f.Close()
	server := httptest.NewServer(f)
	defer server.Close()
	var log bytes.Buffer
	b, err := backends.New("consul://"+strings.TrimPrefix(server.URL, "http://"),
		discovery.Options{TTL: 4 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Register(t.Context(), "a:1"); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "session_ttl_min"); n != 1 {
		t.Errorf("the log speaks of session_ttl_min %d times, want 1:\n%s", n, log.String())
	}
	if err := b.Deregister(t.Context(), "a:1"); err != nil {
		t.Error(err)
	}
}

func TestNew_refuses(t *testing.T) {
	for _, tc := range []struct{ name, url, want string }{
		{"an unknown scheme", "etcd3://a:1", `discovery service not supported: "etcd3://"; skep knows nodes://, file://, token://, etcd://, consul://, zk://, and addresses between commas`},
		{"no scheme before the slashes", "://a:1", `discovery service not supported: "://"`},
		{"a token without its scheme", "0ac50ef75c9739f5bfeeaf00503d4e6e",
			"address 0ac50ef75c9739f5bfeeaf00503d4e6e: missing port in address, please check you are using the correct discovery (missing token:// ?)"},
		{"an empty list", "nodes://", "the list of engines is empty"},
		{"a store without an address", "etcd:///swarm", "etcd:///swarm: the address of the store is missing: write host:port"},
		{"several agents of Consul", "consul://a:1,b:1", "consul://a:1,b:1: consul does not support multiple endpoints"},
		{"no path", "file://", "the path of the list of engines is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := backends.New(tc.url, discovery.Options{})
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if b != nil {
				t.Errorf("an error comes with a %T", b)
			}
		})
	}
}
