package consul_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul"
	"github.com/skep/skep/internal/kvstore/consul/consultest"
)

func dial(t *testing.T, endpoint string, o consul.Options) *consul.Store {
	t.Helper()
	s, err := consul.New(endpoint, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore_overTheNetwork(t *testing.T) {
	s := dial(t, listen(t, fake(t, consultest.Options{})), consul.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	news := s.Watch(ctx, "nodes", time.Second)
	expect(t, "at first", text((<-news).Pairs), "")
	// Characters that a URL would take for its own.
	const odd = "nodes/[fe80::1%25eth0]:2375?a=b#c &+é"
	announce(t, s, odd, "\x00\xff value", time.Minute)
	expect(t, "watched", text((<-news).Pairs), odd+"=\x00\xff value")
	expect(t, "listed", list(t, s), odd+"=\x00\xff value")
	value, ok, err := s.Get(ctx, odd)
	expect(t, "got", fmt.Sprintf("%q %v %v", value, ok, err), `"\x00\xff value" true <nil>`)
	value, ok, err = s.Get(ctx, "nodes/none")
	expect(t, "a key that is not there", fmt.Sprint(value, ok, err), "false <nil>")
	l, err := s.Lock(ctx, leader2, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []error{s.Withdraw(ctx, odd), s.Withdraw(ctx, odd), s.Withdraw(ctx, "nodes/never"), l.Release(ctx)} {
		if end != nil {
			t.Error(end)
		}
	}
	expect(t, "withdrawn", list(t, s), "")
}

// leader2 is for the tests that also run under the race detector.
var leader2 = kvstore.Pair{Key: "docker/swarm/leader", Value: "one:4000"}

func TestStore_handsTheLockOverUnderLoad(t *testing.T) {
	f := fake(t, consultest.Options{})
	endpoint := listen(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	inside := make(chan struct{}, 1)
	done := make(chan error)
	const managers, turns = 4, 5
	for i := range managers {
		s := dial(t, endpoint, consul.Options{})
		go func() {
			for range turns {
				l, err := s.Lock(ctx, kvstore.Pair{Key: leader2.Key, Value: fmt.Sprint(i)}, 20*time.Second)
				if err != nil {
					done <- err
					return
				}
				select {
				case inside <- struct{}{}:
				default:
					done <- errors.New("two held the lock")
					return
				}
				<-inside
				if err := l.Release(ctx); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range managers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	expect(t, "sessions", strings.Join(f.Sessions(), " "), "")
}

func TestStore_sendsTheTokenOfTheEnvironmentAndSaysWhatItLacks(t *testing.T) {
	endpoint := listen(t, fake(t, consultest.Options{Token: "s3cret"}))
	s := dial(t, endpoint, consul.Options{})
	err := s.Announce(t.Context(), kvstore.Pair{Key: "nodes/a:1"}, time.Minute)
	if !errdefs.IsPermissionDenied(err) || !strings.Contains(fmt.Sprint(err), "CONSUL_HTTP_TOKEN") {
		t.Errorf("without a token: %v", err)
	}
	t.Setenv("CONSUL_HTTP_TOKEN", "s3cret")
	announce(t, dial(t, endpoint, consul.Options{}), "nodes/a:1", "", time.Minute)
}

func TestStore_withTLSTrustsTheGivenCAOnly(t *testing.T) {
	server := httptest.NewTLSServer(fake(t, consultest.Options{}))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = nil
	endpoint := strings.TrimPrefix(server.URL, "https://")
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	announce(t, dial(t, endpoint, consul.Options{TLS: &tls.Config{RootCAs: roots}}), "nodes/a:1", "", time.Minute)
	_, err := dial(t, endpoint, consul.Options{TLS: &tls.Config{RootCAs: x509.NewCertPool()}}).List(t.Context(), "nodes")
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with another CA: %v", err)
	}
	t.Setenv("CONSUL_HTTP_SSL", "true")
	t.Setenv("CONSUL_HTTP_SSL_VERIFY", "false")
	expect(t, "as the environment says", list(t, dial(t, endpoint, consul.Options{})), "nodes/a:1=")
}

func TestStore_saysWhatToDoWhenConsulFails(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	hanging := fake(t, consultest.Options{})
	hanging.Fail(func(*http.Request) (int, string) { return -1, "" })
	broken := fake(t, consultest.Options{})
	broken.Fail(func(*http.Request) (int, string) { return 500, "No cluster\nleader " + strings.Repeat("x", 5000) })
	astray := http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound)
	nonsense := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	nulls := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[null]") })
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for chunk := []byte("[" + strings.Repeat(" ", 1<<20)); ; chunk[0] = ' ' {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	for name, c := range map[string]struct {
		endpoint, want string
	}{
		"nobody listens": {closed.Addr().String(), "check the address and that the agent runs"},
		"it hangs":       {listen(t, hanging), "did not answer in time"},
		"no leader":      {listen(t, broken), "HTTP status 500: No cluster leader xxx"},
		"a redirect":     {listen(t, astray), "HTTP status 302"},
		"not Consul":     {listen(t, nonsense), "cannot be asked"},
	} {
		t.Run(name, func(t *testing.T) {
			// All but one answer at once, though a busy machine may take a while.
			patience := time.Minute
			if name == "it hangs" {
				patience = 200 * time.Millisecond
			}
			s := dial(t, c.endpoint, consul.Options{Timeout: patience})
			_, err := s.List(t.Context(), "nodes")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.endpoint) {
				t.Errorf("got %v, want %q and the address", err, c.want)
			}
			if err != nil && (len(err.Error()) > 800 || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%d bytes of error: %.1000q", len(err.Error()), err)
			}
			if !errdefs.IsUnavailable(err) {
				t.Errorf("%v is not marked as unavailable", err)
			}
			if err := s.Announce(t.Context(), kvstore.Pair{Key: "nodes/a"}, time.Minute); err == nil {
				t.Error("announced")
			}
			if _, err := s.Lock(t.Context(), leader2, time.Minute); err == nil {
				t.Error("locked")
			}
		})
	}
	// 32 MiB of JSON take a race detector longer than a test should.
	if _, err := dial(t, listen(t, endless), consul.Options{Timeout: time.Minute, LargestAnswer: 3 << 20}).List(t.Context(), "nodes"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("an endless answer: %v", err)
	}
	s := dial(t, listen(t, nulls), consul.Options{})
	if found, err := s.List(t.Context(), "nodes"); len(found) > 0 || err != nil {
		t.Errorf("a list of nothing: %v, %v", found, err)
	}
	if err := s.Announce(t.Context(), kvstore.Pair{Key: "nodes/a"}, time.Minute); err == nil {
		t.Error("announced with a session that has no ID")
	}
}

func TestStore_givesUpWithTheCallersContext(t *testing.T) {
	f := fake(t, consultest.Options{})
	f.Fail(func(*http.Request) (int, string) { return -1, "" })
	s := dial(t, listen(t, f), consul.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.List(ctx, "nodes"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("list: %v", err)
	}
	if _, err := s.Lock(ctx, leader2, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lock: %v", err)
	}
	if err := s.Announce(ctx, kvstore.Pair{Key: "nodes/a"}, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("announce: %v", err)
	}
}

func TestStore_refusesTTLsThatWouldNeverEnd(t *testing.T) {
	s := dial(t, "127.0.0.1:1", consul.Options{})
	for _, ttl := range []time.Duration{0, -time.Second} {
		if err := s.Announce(t.Context(), leader2, ttl); err == nil || errdefs.IsUnavailable(err) {
			t.Errorf("a TTL of %s: %v", ttl, err)
		}
		if _, err := s.Lock(t.Context(), leader2, ttl); err == nil || errdefs.IsUnavailable(err) {
			t.Errorf("a TTL of %s: %v", ttl, err)
		}
	}
}

func TestStore_closedSaysSo(t *testing.T) {
	s := dial(t, listen(t, fake(t, consultest.Options{})), consul.Options{})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.List(t.Context(), "nodes")
	if err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("list: %v", err)
	}
	if _, err := s.Lock(t.Context(), leader2, time.Minute); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("lock: %v", err)
	}
}

func TestLeastTTL_isWhatTheRefusalNames(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"rpc error making call: Invalid Session TTL '7500000000', must be between [10s=24h0m0s]": 10 * time.Second,
		"Invalid Session TTL '1', must be between [3m0s=24h0m0s]":                                3 * time.Minute,
		"Invalid Session TTL '1'":                        10 * time.Second,
		"Invalid Session TTL [nonsense=]":                10 * time.Second,
		"No cluster leader":                              0,
		"Missing node registration [10s=24h0m0s]":        0,
		"Invalid Session TTL '1', between [-5s=24h0m0s]": 10 * time.Second,
	} {
		if got, ok := consul.LeastTTL(text); got != want || ok != (want > 0) {
			t.Errorf("%q: %s, %v; want %s", text, got, ok, want)
		}
	}
}

func FuzzLeastTTL(f *testing.F) {
	f.Add("Invalid Session TTL '7500000000', must be between [10s=24h0m0s]")
	f.Add("Invalid Session TTL [=")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := consul.LeastTTL(text)
		if ok != (got > 0) || ok != strings.Contains(text, "Invalid Session TTL") {
			t.Errorf("%q: %s, %v", text, got, ok)
		}
	})
}

func FuzzNextIndex(f *testing.F) {
	f.Add(uint64(5), uint64(3))
	f.Add(uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, last, got uint64) {
		switch next := consul.NextIndex(last, got); {
		case got < last && next != 0:
			t.Errorf("%d after %d: %d, want to start anew", got, last, next)
		case got >= last && (next < got || next == 0):
			t.Errorf("%d after %d: %d waits for nothing", got, last, next)
		}
	})
}
