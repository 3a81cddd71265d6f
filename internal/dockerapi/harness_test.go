package dockerapi_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// advertised is the newest version that the tests' front door speaks of.
var advertised = apiversion.Version{Major: 1, Minor: 41}

// routes are a router made in a test.
type routes []dockerapi.Route

func (r routes) Routes() []dockerapi.Route { return r }

func route(method, path string, h dockerapi.Handler) dockerapi.Route {
	return dockerapi.Route{Method: method, Path: path, Handler: h}
}

func options() dockerapi.Options {
	return dockerapi.Options{
		Logger: slog.New(slog.DiscardHandler), Server: "skep/1 (linux)",
		APIVersion: func() apiversion.Version { return advertised },
	}
}

// frontDoor is a server on loopback.
type frontDoor struct {
	t      *testing.T
	addr   string
	server *dockerapi.Server
	stop   func() // waits for the end of Serve
}

// open serves routes until the end of the test.
func open(t *testing.T, all ...dockerapi.Route) *frontDoor {
	t.Helper()
	return openHandler(t, dockerapi.NewHandler(options(), routes(all)))
}

func openHandler(t *testing.T, h http.Handler) *frontDoor {
	t.Helper()
	return openServer(t, dockerapi.NewServer(h, slog.New(slog.DiscardHandler)))
}

func openServer(t *testing.T, s *dockerapi.Server) *frontDoor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &frontDoor{t: t, addr: l.Addr().String(), server: s}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := d.server.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	}()
	d.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(d.stop)
	return d
}

// dial opens a connection to the front door for a client that writes HTTP by
// hand, until the end of the test.
func (d *frontDoor) dial() *net.TCPConn {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

// do sends a request on a connection of its own; redirects are not followed.
func (d *frontDoor) do(r *http.Request) *http.Response {
	d.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	r.URL.Scheme, r.URL.Host, r.RequestURI = "http", d.addr, ""
	resp, err := transport.RoundTrip(r)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// get sends a request and reads its answer whole.
func (d *frontDoor) get(method, path string) (*http.Response, string) {
	d.t.Helper()
	resp := d.do(httptest.NewRequest(method, path, http.NoBody))
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp, string(body)
}

// newEngine is an engine whose requests are answered by h. It is not followed:
// forwarding needs its connection only.
func newEngine(t *testing.T, h http.HandlerFunc) *engine.Engine {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	// Panics are how a test breaks a connection.
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.Start()
	e, err := engine.New(engine.Config{Address: server.Listener.Addr().String(), Observer: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		e.Run(ctx) // ends at once, and closes its connections
	})
	return e
}

type nobody struct{}

func (nobody) EngineState(*engine.Engine, engine.State, engine.State, error) {}
func (nobody) EngineContainers(_ *engine.Engine, _, _ []*engine.Container)   {}
func (nobody) EngineObjects(*engine.Engine)                                  {}
func (nobody) EngineEvent(*engine.Engine, engine.Event)                      {}

// forward is a handler that forwards to e, under the path that was asked for.
func forward(e *engine.Engine, o dockerapi.ForwardOptions) dockerapi.Handler {
	return func(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
		return dockerapi.Forward(w, r, e, r.URL.Path, o)
	}
}

func upgrade(e *engine.Engine) dockerapi.Handler {
	return func(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
		return dockerapi.Upgrade(w, r, e, r.URL.Path, dockerapi.ForwardOptions{})
	}
}
