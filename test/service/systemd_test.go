//go:build linux

package service_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is the clock that sd_notify(3) names, in microseconds.
func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// activated starts skep as a socket unit does: it runs as soon as somebody
// connects to one of the sockets.
func activated(t *testing.T, sockets, names []string, args ...string) *process {
	t.Helper()
	line := []string{tool(t, "systemd-socket-activate"), "-E", "NOTIFY_SOCKET", "-E", "PATH"}
	for _, s := range sockets {
		line = append(line, "-l", s)
	}
	if names != nil {
		line = append(line, "--fdname="+strings.Join(names, ":"))
	}
	p := start(t, append(line, manageLine(t, args...)...)...)
	for until := time.Now().Add(patience); strings.Count(p.said(), "Listening on") < len(sockets); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("the sockets are not open:\n%s", p.said())
		}
	}
	return p
}

func TestSystemd_handsItsSocketsOver(t *testing.T) {
	unixSocket, tcp := filepath.Join(shortDir(t), "skep.sock"), freePort(t)
	p := activated(t, []string{unixSocket, tcp}, nil, "-H", "fd://", "nodes://"+engine(t, nil))
	local, remote := dockerCLI(t, "unix://"+unixSocket), dockerCLI(t, "tcp://"+tcp)
	// The first one starts skep, and waits for it.
	local.prints("skep", "version")
	p.tells("READY=1")
	local.awaitEngine()
	remote.prints("sim-c1", "ps", "-a")
	local.prints("", "run", "-d", "--name", "web", "--network", "none", "busybox")
	remote.prints("web", "ps", "-a", "--filter", "name=web")
	p.reload()
	remote.prints("web", "ps", "-a", "--filter", "name=web")
	p.stop()
	if _, err := os.Lstat(unixSocket); err != nil {
		t.Errorf("systemd's socket is gone with skep, and its clients cannot wait for the next one: %v", err)
	}
}

func TestSystemd_oneSocketByItsName(t *testing.T) {
	dir := shortDir(t)
	ours, others := filepath.Join(dir, "ours.sock"), filepath.Join(dir, "others.sock")
	p := activated(t, []string{others, ours}, []string{"others", "ours"}, "-H", "fd://ours", "nodes://"+engine(t, nil))
	docker := dockerCLI(t, "unix://"+ours)
	docker.prints("skep", "version")
	p.tells("READY=1")
	docker.awaitEngine()
	p.stop()
	if said := p.said(); strings.Count(said, "msg=listening") != 1 {
		t.Errorf("it listens on more than it was told to:\n%s", said)
	}
}

// Sockets that systemd opens are held to the same rules as skep's own.
func TestSystemd_aSocketForAllNeedsTLS(t *testing.T) {
	_, port, _ := strings.Cut(freePort(t), ":")
	p := activated(t, []string{"0.0.0.0:" + port}, nil, "-H", "fd://", "nodes://"+engine(t, nil))
	resp, err := (&http.Client{Timeout: patience}).Get("http://127.0.0.1:" + port + "/_ping")
	if err == nil {
		resp.Body.Close()
		t.Errorf("it answers: %s", resp.Status)
	}
	select {
	case err := <-p.done:
		if err == nil || !strings.Contains(p.said(), "refusing to listen on") {
			t.Errorf("%v\n%s", err, p.said())
		}
	case <-time.After(patience):
		t.Errorf("it goes on\n%s", p.said())
	}
}

// socket is one that systemd holds, and its address. The test is systemd here.
func socket(t *testing.T) (*os.File, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

// handOver starts skep with that socket.
func handOver(t *testing.T, f *os.File, args ...string) *process {
	t.Helper()
	// Only a shell knows its number before it becomes skep.
	line := append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, manageLine(t, args...)...)
	p := program{args: line, env: []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=skep"}, files: []*os.File{f}}.start(t)
	p.tells("READY=1")
	return p
}

// The socket belongs to systemd: who connects between two skeps is answered by
// the second.
func TestSystemd_clientsWaitWhileSkepRestarts(t *testing.T) {
	f, addr := socket(t)
	engine := engine(t, nil)
	run := func() *process { return handOver(t, f, "-H", "fd://", "nodes://"+engine) }
	run().stop()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("between two skeps: %v", err)
	}
	defer conn.Close()
	p := run()
	if err := ping(conn); err != nil {
		t.Error(err)
	}
	p.stop()
}

func TestSystemd_withAllFlagsInAFile(t *testing.T) {
	f, addr := socket(t)
	dir := shortDir(t)
	watch, file := filepath.Join(dir, "m"), filepath.Join(dir, "skep.json")
	config := `{"host": ["fd://skep"], "metrics-addr": "unix://` + watch + `", "discovery": "nodes://127.0.0.1:1", "experimental": true}`
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := handOver(t, f, "--config", file)
	if got := get(t, "tcp", addr, "/_ping"); got != "OK" {
		t.Errorf("%q", got)
	}
	if got := get(t, "tcp", addr, "/info"); !strings.Contains(got, `"ExperimentalBuild":true`) {
		t.Errorf("info: %s", got)
	}
	counted := get(t, "unix", watch, "/metrics")
	for _, line := range []string{`skep_requests_total{code="200",method="GET",route="/_ping"} 1`, `skep_engines{state="Pending"} 1`} {
		if !strings.Contains(counted, "\n"+line+"\n") {
			t.Errorf("there is no %s in\n%s", line, counted)
		}
	}
	p.reload()
	p.stop()
}

func TestSystemd_withoutTheSocketsThatItWasToldOf(t *testing.T) {
	p := start(t, manageLine(t, "-H", "fd://", "nodes://127.0.0.1:1")...)
	if err := <-p.done; err == nil || !strings.Contains(p.said(), "no sockets were handed over: start skep by a systemd socket unit") {
		t.Errorf("%v\n%s", err, p.said())
	}
}

func TestUnits_areOnesThatSystemdUnderstands(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	dir := t.TempDir()
	for _, name := range []string{"skep.service", "skep.socket"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "packaging", "systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		// systemd looks whether the program is there.
		installed := strings.ReplaceAll(string(text), "/usr/bin/skep ", os.Getenv(skepBin)+" ")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(installed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"skep.service", "skep.socket"} {
		out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, name)).CombinedOutput()
		if err != nil || strings.Contains(string(out), dir) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	// The figure is systemd's own: 0 is closed, 10 stands open.
	out, err := exec.Command(analyze, "security", "--offline=yes", "--threshold=25", filepath.Join(dir, "skep.service")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
