package dockerapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/skep/skep/internal/dockerapi"
)

func TestSwap_requestsUnderWayKeepTheirHandler(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	named := func(name string) http.Handler {
		return dockerapi.NewHandler(options(), routes{
			route("GET", "/name", func(w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
				fmt.Fprint(w, name)
				return nil
			}),
			route("GET", "/slow", func(w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
				close(arrived)
				<-goOn
				fmt.Fprint(w, name)
				return nil
			}),
		})
	}
	d := openHandler(t, named("first"))
	conn := d.dial()
	in := bufio.NewReader(conn)
	ask := func(path string) { fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path) }
	answer := func(want string) {
		t.Helper()
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != want {
			t.Errorf("%q, %v; want %q", body, err, want)
		}
	}
	ask("/slow")
	<-arrived
	d.server.Swap(named("second"))
	close(goOn)
	answer("first")
	ask("/name") // on the same connection
	answer("second")
}

func TestSwap_atAnyTime(t *testing.T) {
	d := open(t, route("GET", "/x", echoVersion))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				d.server.Swap(dockerapi.NewHandler(options(), routes{route("GET", "/x", echoVersion)}))
				w := httptest.NewRecorder()
				d.server.ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
				if w.Code != 200 {
					t.Errorf("status %d", w.Code)
				}
			}
		})
	}
	wg.Wait()
}

func TestServe_letsRequestsEndAndThenIsClosed(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	d := open(t, route("GET", "/slow", func(w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
		close(arrived)
		<-goOn
		fmt.Fprint(w, "whole")
		return nil
	}))
	got := make(chan string, 1)
	go func() {
		_, body := d.get("GET", "/slow")
		got <- body
	}()
	<-arrived
	stopped := make(chan struct{})
	go func() {
		d.stop()
		close(stopped)
	}()
	for { // until nobody listens any more
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case <-stopped:
		t.Error("it has not waited for the request")
	default:
	}
	close(goOn)
	if body := <-got; body != "whole" {
		t.Errorf("%q", body)
	}
	<-stopped
}

func TestServe_tellsStreamsToEnd(t *testing.T) {
	d := open(t, route("GET", "/events", func(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return nil
	}))
	resp := d.do(httptest.NewRequest("GET", "/events", nil))
	d.stop()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Error(err)
	}
}

// failing is a listener that cannot go on.
type failing struct{ net.Listener }

var errListener = errors.New("too many open files")

func (failing) Accept() (net.Conn, error) { return nil, errListener }

func TestServe_oneListenerThatFailsEndsAll(t *testing.T) {
	var listeners [2]net.Listener
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
	}
	s := dockerapi.NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err := s.Serve(context.Background(), listeners[0], failing{listeners[1]}); !errors.Is(err, errListener) {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", listeners[0].Addr().String()); err == nil {
		conn.Close()
		t.Error("the other one goes on")
	}
}
