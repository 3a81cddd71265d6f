package consul_test

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul"
	"github.com/skep/skep/internal/kvstore/consul/consultest"
)

func TestMain(m *testing.M) {
	// Whoever runs the tests may have a Consul of his own.
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "CONSUL_") {
			os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}

// pipes is a listener without a network: in a bubble, only what its goroutines
// do makes time stand still or pass.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}

	mu   sync.Mutex // guards what follows
	ends []net.Conn // those of the server
}

// hangUp closes all connections.
func (p *pipes) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.ends {
		_ = c.Close()
	}
	p.ends = nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ends = append(p.ends, far)
		return near, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open connects a store to h without a network.
func open(t *testing.T, h http.Handler) *consul.Store { return openLogged(t, h, nil) }

func openLogged(t *testing.T, h http.Handler, logger *slog.Logger) *consul.Store {
	t.Helper()
	s, err := consul.New("127.0.0.1:8500", consul.Options{Dial: listenPipes(t, h).dial, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fake starts a Consul that ends with the test.
func fake(t *testing.T, o consultest.Options) *consultest.Server {
	t.Helper()
	f := consultest.New(o)
	t.Cleanup(f.Close)
	return f
}

// listen serves h on a loopback port.
func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func announce(t *testing.T, s *consul.Store, key, value string, ttl time.Duration) {
	t.Helper()
	if err := s.Announce(t.Context(), kvstore.Pair{Key: key, Value: value}, ttl); err != nil {
		t.Fatal(err)
	}
}

// list gives what is below nodes as "key=value", with spaces between.
func list(t *testing.T, s *consul.Store) string {
	t.Helper()
	found, err := s.List(t.Context(), "nodes")
	if err != nil {
		t.Fatal(err)
	}
	return text(found)
}

func text(found []kvstore.Pair) string {
	var words []string
	for _, p := range found {
		words = append(words, p.Key+"="+p.Value)
	}
	return strings.Join(words, " ")
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// listenPipes serves h for a client that is not ours.
func listenPipes(t *testing.T, h http.Handler) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(p) }()
	t.Cleanup(func() { server.Close(); <-served })
	return p
}

// raw is Consul's own client.
func raw(t *testing.T, p *pipes) *api.Client {
	t.Helper()
	transport := &http.Transport{DialContext: p.dial}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := api.NewClient(&api.Config{Address: "127.0.0.1:8500", HttpClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cable is the way to a server, which can be cut: requests and answers in it hang.
type cable struct {
	http.Handler
	cut atomic.Pointer[chan struct{}]
}

func plug(t *testing.T, h http.Handler) *cable {
	c := &cable{Handler: h}
	t.Cleanup(c.mend)
	return c
}

func (c *cable) tear() { hang := make(chan struct{}); c.cut.Store(&hang) }
func (c *cable) mend() {
	if hang := c.cut.Swap(nil); hang != nil {
		close(*hang)
	}
}

func (c *cable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.passes(r) {
		return
	}
	// An answer may be on its way when the cable is cut, and the server waits for
	// no reader of it.
	answer := httptest.NewRecorder()
	c.Handler.ServeHTTP(answer, r)
	if !c.passes(r) {
		return
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// passes waits while the cable is cut, after which it is too late for a request.
func (c *cable) passes(r *http.Request) bool {
	hang := c.cut.Load()
	if hang == nil {
		return true
	}
	select {
	case <-*hang:
	case <-r.Context().Done():
	}
	return false
}
