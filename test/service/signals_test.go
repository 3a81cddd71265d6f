//go:build linux

package service_test

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gate holds requests that create containers until they are let go.
type gate struct {
	arrived chan struct{} // has one for each
	let     chan struct{}
}

func (g gate) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/containers/create") {
			g.arrived <- struct{}{}
			<-g.let
		}
		next.ServeHTTP(w, r)
	})
}

func TestSIGTERM_requestsUnderWayEndAsTheyWould(t *testing.T) {
	g := gate{make(chan struct{}, 10), make(chan struct{})}
	socket := filepath.Join(shortDir(t), "s")
	p := manage(t, "-H", "unix://"+socket, "nodes://"+engine(t, g.wrap))
	docker := dockerCLI(t, "unix://"+socket)
	docker.awaitEngine()
	type result struct {
		out string
		err error
	}
	created := make(chan result, 1)
	go func() {
		out, err := docker.run("create", "--name", "late", "--network", "none", "busybox")
		created <- result{out, err}
	}()
	<-g.arrived
	p.signal(syscall.SIGTERM)
	p.tells("STOPPING=1")
	// The door is closed while the request is under way.
	for {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-p.done:
		t.Fatalf("it has ended with a request under way: %v\n%s", err, p.said())
	default:
	}
	close(g.let)
	if r := <-created; r.err != nil || len(strings.TrimSpace(r.out)) != 64 {
		t.Errorf("docker create: %v %q", r.err, r.out)
	}
	p.ends()
	if strings.Contains(p.said(), "with requests under way") {
		t.Errorf("it cut something off:\n%s", p.said())
	}
}

func TestSIGTERM_aSecondOneEndsItAtOnce(t *testing.T) {
	g := gate{make(chan struct{}, 10), make(chan struct{})}
	defer close(g.let)
	socket := filepath.Join(shortDir(t), "s")
	p := manage(t, "-H", "unix://"+socket, "--shutdown-timeout", "1h", "nodes://"+engine(t, g.wrap))
	docker := dockerCLI(t, "unix://"+socket)
	docker.awaitEngine()
	cut := make(chan error, 1)
	go func() {
		_, err := docker.run("create", "--name", "never", "--network", "none", "busybox")
		cut <- err
	}()
	<-g.arrived
	p.signal(syscall.SIGTERM)
	p.tells("STOPPING=1")
	// One that comes in the very moment of the first counts as the same.
	var err error
	for ended, until := false, time.Now().Add(patience); !ended; {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err = <-p.done:
			ended = true
		case <-time.After(100 * time.Millisecond):
			if time.Now().After(until) {
				t.Fatalf("it goes on\n%s", p.said())
			}
		}
	}
	if err == nil {
		t.Error("its status says that all is well")
	}
	if err := <-cut; err == nil {
		t.Error("the client believes that its container was made")
	}
}

// A stream has no end of its own: it is told to end, and its reader sees a
// whole answer.
func TestSIGTERM_streamsAreEnded(t *testing.T) {
	socket := filepath.Join(shortDir(t), "s")
	p := manage(t, "-H", "unix://"+socket, "--shutdown-timeout", "10s", "nodes://"+engine(t, nil))
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /v1.41/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, len("HTTP/1.1 200 OK"))
	if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 200 OK" {
		t.Fatalf("%q %v", head, err)
	}
	p.stop()
	if rest, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(rest), "\r\n0\r\n\r\n") {
		t.Errorf("%q %v", rest, err)
	}
}
