package enginetest

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"
)

// Config is what an Engine says of itself. Start fills in defaults.
type Config struct {
	Name   string // default n1
	ID     string // default ID-NAME
	IP     string // given: the engine's address is IP:2375; not: a unix socket
	API    string // default 1.41
	MinAPI string // default 1.24
	OSType string // default linux
	Labels []string
	CPUs   int   // default 4
	Memory int64 // bytes; default 8 GiB
}

func (c *Config) setDefaults() {
	def(&c.Name, "n1")
	def(&c.ID, "ID-"+c.Name)
	def(&c.API, "1.41")
	def(&c.MinAPI, "1.24")
	def(&c.OSType, "linux")
	def(&c.CPUs, 4)
	def(&c.Memory, 8<<30)
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Engine is a fake engine. Its methods may be called from any goroutine.
type Engine struct {
	cfg    Config
	socket string
	routes *mux.Router

	mu         sync.Mutex
	overrides  []*mux.Router // the last one first; guarded by mu, as are all below
	images     map[string]*Image
	registry   map[string]Image // what can be pulled, by reference
	containers map[string]*Container
	networks   map[string]*Network
	volumes    map[string]*Volume
	past       []Event
	listeners  map[chan Event]struct{}
	requests   []string
	frozen     chan struct{} // closed when requests may go on; nil when they may
	made       int           // counts what has been made, for IDs and times
}

// Start runs an engine until the end of the test.
func Start(t testing.TB, cfg Config) *Engine {
	t.Helper()
	cfg.setDefaults()
	// Not t.TempDir: its paths are longer than a socket's may be.
	dir, err := os.MkdirTemp("", "skep-engine")
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{
		cfg: cfg, socket: filepath.Join(dir, "docker.sock"),
		images: map[string]*Image{}, registry: map[string]Image{}, containers: map[string]*Container{},
		networks: map[string]*Network{}, volumes: map[string]*Volume{}, listeners: map[chan Event]struct{}{},
	}
	e.routes = e.newRoutes()
	l, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	base, stop := context.WithCancel(context.Background())
	server := &http.Server{Handler: e, BaseContext: func(net.Listener) context.Context { return base }}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		e.Thaw()
		stop()
		server.Close()
		<-served
		os.RemoveAll(dir)
	})
	return e
}

// StartMany runs n engines, n1 and so on, each with an IP of its own.
func StartMany(t testing.TB, n int) []*Engine {
	t.Helper()
	engines := make([]*Engine, n)
	for i := range engines {
		engines[i] = Start(t, Config{Name: fmt.Sprintf("n%d", i+1), IP: fmt.Sprintf("10.77.%d.%d", i/250, i%250+1)})
	}
	return engines
}

// Name is the engine's name.
func (e *Engine) Name() string { return e.cfg.Name }

// Address is what a cluster is told of the engine.
func (e *Engine) Address() string {
	if e.cfg.IP == "" {
		return "unix://" + e.socket
	}
	return e.cfg.IP + ":2375"
}

// Socket is the path of the unix socket that the engine really listens on.
func (e *Engine) Socket() string { return e.socket }

// Dial opens connections to the given engines by their addresses.
func Dial(engines ...*Engine) func(ctx context.Context, network, target string) (net.Conn, error) {
	sockets := make(map[string]string, len(engines))
	for _, e := range engines {
		sockets[strings.TrimPrefix(e.Address(), "unix://")] = e.socket
	}
	return func(ctx context.Context, _, target string) (net.Conn, error) {
		socket, ok := sockets[target]
		if !ok {
			return nil, fmt.Errorf("no engine at %s", target)
		}
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
}

// Handle makes h answer a method and a path (in the form of gorilla/mux, without
// a version) instead of the engine. The latest Handle of a path counts. With a
// nil h the engine answers itself again.
func (e *Engine) Handle(method, path string, h http.HandlerFunc) {
	if h == nil {
		h = e.routes.ServeHTTP
	}
	r := mux.NewRouter()
	r.Methods(method).Path(path).Handler(h)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.overrides = append([]*mux.Router{r}, e.overrides...)
}

// Fail makes the engine refuse a method and path with a status and a sentence.
func (e *Engine) Fail(method, path string, status int, message string) {
	e.Handle(method, path, func(w http.ResponseWriter, _ *http.Request) { fail(w, status, message) })
}

// Freeze makes the engine take requests and answer none, as a hung one does,
// until Thaw.
func (e *Engine) Freeze() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.frozen == nil {
		e.frozen = make(chan struct{})
	}
}

// Thaw ends Freeze.
func (e *Engine) Thaw() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.frozen != nil {
		close(e.frozen)
		e.frozen = nil
	}
}

// Requests are those the engine got, as "METHOD /path?query" without versions,
// that begin with prefix.
func (e *Engine) Requests(prefix string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, r := range e.requests {
		if strings.HasPrefix(r, prefix) {
			out = append(out, r)
		}
	}
	return out
}

var versionPrefix = regexp.MustCompile(`^/v[0-9.]+/`)

func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.URL.Path = versionPrefix.ReplaceAllString(r.URL.Path, "/")
	e.mu.Lock()
	e.requests = append(e.requests, r.Method+" "+r.URL.RequestURI())
	frozen, overrides := e.frozen, slices.Clone(e.overrides)
	e.mu.Unlock()
	if frozen != nil {
		select {
		case <-frozen:
		case <-r.Context().Done():
			return
		}
	}
	for _, o := range overrides {
		if o.Match(r, &mux.RouteMatch{}) {
			o.ServeHTTP(w, r)
			return
		}
	}
	e.routes.ServeHTTP(w, r)
}

func (e *Engine) newRoutes() *mux.Router {
	r := mux.NewRouter()
	add := func(method, path string, h http.HandlerFunc) { r.Methods(method).Path(path).HandlerFunc(h) }
	for _, m := range []string{http.MethodGet, http.MethodHead} {
		add(m, "/_ping", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK")) })
	}
	add("GET", "/version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"Version": "27.0.0", "ApiVersion": e.cfg.API, "MinAPIVersion": e.cfg.MinAPI, "Os": e.cfg.OSType})
	})
	add("GET", "/info", e.info)
	add("GET", "/events", e.events)
	e.imageRoutes(add)
	e.containerRoutes(add)
	e.networkRoutes(add)
	e.volumeRoutes(add)
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fail(w, http.StatusNotFound, "page not found") })
	r.MethodNotAllowedHandler = r.NotFoundHandler
	return r
}

func (e *Engine) info(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"ID": e.cfg.ID, "Name": e.cfg.Name, "Labels": e.cfg.Labels, "NCPU": e.cfg.CPUs, "MemTotal": e.cfg.Memory,
		"ServerVersion": "27.0.0", "OSType": e.cfg.OSType, "OperatingSystem": "Fake Linux", "Architecture": "x86_64",
		"KernelVersion": "6.0.0", "Driver": "overlay2", "SystemTime": time.Now().Format(time.RFC3339Nano),
	})
}

// newID makes an ID of 64 hexadecimal digits that no other call has made, on
// this engine or another; e.mu is held.
func (e *Engine) newID(what string) string {
	e.made++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", e.cfg.ID, what, e.made))
	return hex.EncodeToString(sum[:])
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if v != nil {
		_ = json.NewEncoder(w).Encode(v)
	}
}

func fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

// messages writes a stream of progress messages, each flushed.
func messages(w http.ResponseWriter, list ...map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	buf := bufio.NewWriter(w)
	for _, m := range list {
		_ = json.NewEncoder(buf).Encode(m)
		_ = buf.Flush()
		_ = http.NewResponseController(w).Flush()
	}
}
