package token_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is the token of the tests: no error may hold it.
const secret = "5ec1e7"

// answers is a hub that gives one answer after the other, the last for ever.
type answers struct {
	mu    sync.Mutex
	list  []func(http.ResponseWriter, *http.Request)
	asked []string
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.asked = append(a.asked, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Method, r.URL, body)))
	answer := a.list[0]
	if len(a.list) > 1 {
		a.list = a.list[1:]
	}
	a.mu.Unlock()
	answer(w, r)
}

func (a *answers) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.asked...)
}

func says(status int, body string, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func backend(t *testing.T, opts discovery.Options, list ...func(http.ResponseWriter, *http.Request)) (*token.Backend, *answers) {
	t.Helper()
	a := &answers{list: list}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	b, err := token.New(strings.TrimPrefix(server.URL, "http://")+"/"+secret, opts)
	if err != nil {
		t.Fatal(err)
	}
	return b, a
}

func watching(t *testing.T, b *token.Backend) <-chan discovery.Update {
	ctx, cancel := context.WithCancel(context.Background())
	updates := b.Watch(ctx)
	t.Cleanup(func() {
		cancel()
		for range updates {
			// Until it is closed.
		}
	})
	return updates
}

func next(t *testing.T, updates <-chan discovery.Update) discovery.Update {
	t.Helper()
	select {
	case u := <-updates:
		if u.Err != nil && strings.Contains(u.Err.Error(), secret) {
			t.Errorf("the error tells the token: %v", u.Err)
		}
		return u
	case <-time.After(30 * time.Second):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

func wantError(t *testing.T, u discovery.Update, want string) {
	t.Helper()
	if u.Err == nil || !strings.Contains(u.Err.Error(), want) || u.Entries != nil {
		t.Errorf("got %v, want error %q", u, want)
	}
}

const beat = 5 * time.Millisecond

func TestWatch_sendsListsThatChangeAndErrors(t *testing.T) {
	b, _ := backend(t, discovery.Options{Heartbeat: beat},
		says(200, `["a:1","b:1"]`),
		says(200, `["a:1","b:1"]`),
		says(503, "closed for today\n"),
		says(200, `["a:1","b:1"]`),
		says(404, "no such token: make one"),
		says(200, `[]`),
		says(200, `{"not":"a list"}`),
		says(302, "", "Location", "http://127.0.0.1:1/"+secret),
		says(200, `["c:1"]`),
	)
	updates := watching(t, b)
	want := func(entries ...discovery.Entry) {
		t.Helper()
		if diff := cmp.Diff(discovery.Update{Entries: entries}, next(t, updates)); diff != "" {
			t.Error(diff)
		}
	}
	want("a:1", "b:1")
	wantError(t, next(t, updates), "503 Service Unavailable: closed for today")
	wantError(t, next(t, updates), "404 Not Found: no such token: make one")
	want()
	wantError(t, next(t, updates), "no JSON array of addresses")
	wantError(t, next(t, updates), "a redirect, which is not followed")
	want("c:1")
}

func TestWatch_asksOnlyWhetherTheListHasChanged(t *testing.T) {
	tags := make(chan string, 100)
	b, _ := backend(t, discovery.Options{Heartbeat: beat},
		says(200, `["a:1"]`, "ETag", `"1"`),
		func(w http.ResponseWriter, r *http.Request) {
			tags <- r.Header.Get("If-None-Match")
			w.WriteHeader(304)
		},
		says(200, `["b:1"]`, "ETag", `"2"`),
	)
	updates := watching(t, b)
	if u := next(t, updates); len(u.Entries) != 1 || u.Entries[0] != "a:1" {
		t.Errorf("got %v", u)
	}
	if u := next(t, updates); len(u.Entries) != 1 || u.Entries[0] != "b:1" {
		t.Errorf("got %v", u)
	}
	if tag := <-tags; tag != `"1"` {
		t.Errorf("asked with tag %s", tag)
	}
}

func TestWatch_leavesBadAddressesOut(t *testing.T) {
	b, _ := backend(t, discovery.Options{Heartbeat: beat}, says(200, `["unix:///run/docker.sock","a:1","h[1:9]:1","[[1:9]::1]:1","b","[::1]:1","a:1"]`))
	updates := watching(t, b)
	wantError(t, next(t, updates), `"unix:///run/docker.sock" is not host:port`)
	if diff := cmp.Diff(discovery.Update{Entries: discovery.Entries{"a:1", "[::1]:1"}}, next(t, updates)); diff != "" {
		t.Error(diff)
	}
}

func TestWatch_readsABoundedAnswer(t *testing.T) {
	b, _ := backend(t, discovery.Options{Heartbeat: beat}, func(w http.ResponseWriter, _ *http.Request) {
		chunk := strings.Repeat(" ", 1<<16)
		for range 64 {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	})
	wantError(t, next(t, watching(t, b)), "its answer is longer than")
}

func TestWatch_tellsOfAHubThatIsNotThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	b, err := token.New(strings.TrimPrefix(server.URL, "http://")+"/"+secret, discovery.Options{Heartbeat: beat})
	if err != nil {
		t.Fatal(err)
	}
	updates := watching(t, b)
	wantError(t, next(t, updates), "hub "+server.URL+"/v1: dial tcp")
	wantError(t, next(t, updates), "connection refused")
}

func TestRegister_announcesAndDeregisterTakesBack(t *testing.T) {
	b, a := backend(t, discovery.Options{TTL: 2500 * time.Millisecond}, says(200, "registered"))
	if err := b.Deregister(t.Context(), "[::1]:1"); err != nil {
		t.Errorf("nothing announced: %v", err)
	}
	if err := errors.Join(b.Register(t.Context(), "[::1]:1"), b.Deregister(t.Context(), "[::1]:1"), b.Deregister(t.Context(), "[::1]:1")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"POST /v1/clusters/5ec1e7?ttl=3 [::1]:1", "DELETE /v1/clusters/5ec1e7?addr=%5B%3A%3A1%5D%3A1"}, a.requests()); diff != "" {
		t.Error(diff)
	}
}

func TestRegister_passesOnWhatTheHubSays(t *testing.T) {
	b, _ := backend(t, discovery.Options{}, says(429, "too many requests:\ntry again in 3 s\n"))
	err := b.Register(t.Context(), "a:1")
	if err == nil || !strings.HasSuffix(err.Error(), "429 Too Many Requests: too many requests: try again in 3 s") {
		t.Errorf("error %v", err)
	}
}

func TestRegister_endsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	b, _ := backend(t, discovery.Options{}, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.Register(ctx, "a:1"); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), secret) {
		t.Errorf("error %v", err)
	}
}

func TestCreate_gives(t *testing.T) {
	for _, tc := range []struct{ name, body, want, err string }{
		{"the token", "0123abcd\n", "0123abcd", ""},
		{"no page of another server", "<html>", "", "its answer is no token: is this the address of a skep hub?"},
		{"no empty answer", "", "", "its answer is no token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(says(201, tc.body)))
			defer server.Close()
			got, err := token.Create(t.Context(), discovery.Options{Opts: map[string]string{"token.hub": server.URL}})
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestCreate_trustsTheGivenCAOnly(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(says(201, "abc")))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := map[string]string{"token.hub": server.URL}
	if _, err := token.Create(t.Context(), discovery.Options{Opts: opts}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the CA: %v", err)
	}
	opts["token.cacertfile"] = ca
	if got, err := token.Create(t.Context(), discovery.Options{Opts: opts}); err != nil || got != "abc" {
		t.Errorf("with the CA: %q, %v", got, err)
	}
	opts["token.cacertfile"] = ca + ".none"
	if _, err := token.Create(t.Context(), discovery.Options{Opts: opts}); err == nil || !strings.Contains(err.Error(), "read token.cacertfile: ") {
		t.Errorf("with a CA that is missing: %v", err)
	}
}
