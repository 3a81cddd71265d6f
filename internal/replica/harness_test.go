package replica_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/replica"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// vote is an election that a test decides.
type vote struct {
	mu      sync.Mutex
	acting  bool
	primary string
	changed chan struct{}
}

func newVote() *vote { return &vote{changed: make(chan struct{})} }

func (v *vote) set(acting bool, primary string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.acting, v.primary = acting, primary
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *vote) Acting() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.acting
}

func (v *vote) Primary() (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.primary, v.primary != ""
}

func (v *vote) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// manager is a manager whose API a test makes up.
type manager struct {
	*vote
	addr    string
	name    string
	server  *httptest.Server
	asked   atomic.Int32 // requests that were served here
	started chan string  // the paths of requests served here, as they begin
	stop    func()       // stops the handler
	handler *replica.Handler
}

// api is what a manager answers itself; nil stands for echo.
type api func(m *manager, w http.ResponseWriter, r *http.Request)

func echo(m *manager, w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Manager", m.name)
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, "%s %s %s by %s", r.Method, r.URL.RequestURI(), body, m.name)
}

func open(t *testing.T, name string, local api, change ...func(*replica.Config)) *manager {
	t.Helper()
	if local == nil {
		local = echo
	}
	m := &manager{vote: newVote(), name: name, started: make(chan string, 100)}
	m.server = httptest.NewUnstartedServer(nil)
	m.addr = m.server.Listener.Addr().String()
	cfg := replica.Config{
		Election: m, Advertise: m.addr, Wait: 10 * time.Second,
		Local: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.asked.Add(1)
			select {
			case m.started <- r.URL.Path:
			default:
			}
			local(m, w, r)
		}),
	}
	for _, c := range change {
		c(&cfg)
	}
	h := replica.New(cfg)
	m.server.Config.Handler, m.handler = h, h
	m.server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	m.stop = func() { cancel(); <-done }
	t.Cleanup(func() {
		m.server.CloseClientConnections()
		m.stop()
		m.server.Close()
	})
	return m
}

// cluster is a replica before a primary.
func cluster(t *testing.T, local api, change ...func(*replica.Config)) (r, primary *manager) {
	t.Helper()
	primary = open(t, "primary", local)
	primary.set(true, primary.addr)
	r = open(t, "replica", nil, change...)
	r.set(false, primary.addr)
	return r, primary
}

// answer is an answer read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func (m *manager) request(t *testing.T, method, path, body string) *http.Request {
	t.Helper()
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, m.server.URL+path, from)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func (m *manager) do(t *testing.T, method, path, body string) answer {
	t.Helper()
	return m.send(t, m.request(t, method, path, body))
}

func (m *manager) send(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := m.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (a answer) want(t *testing.T, status int, parts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("answered %d %q, want %d", a.status, a.body, status)
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			t.Errorf("answered %q, want it to hold %q", a.body, part)
		}
	}
}

// later sends a request and gives its answer when it comes.
func (m *manager) later(t *testing.T, method, path, body string) <-chan answer {
	t.Helper()
	req := m.request(t, method, path, body)
	out := make(chan answer, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		out <- m.send(t, req)
	}()
	t.Cleanup(func() { <-done })
	return out
}

func soon[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: has not come", what)
		panic("unreachable")
	}
}

// deadAddress is one at which nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
