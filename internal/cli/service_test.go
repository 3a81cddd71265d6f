package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manageChild holds the command line of skep for a child process of the tests.
const manageChild = "SKEP_TEST_MANAGE"

// TestChild is no test: it is skep, for the tests that need a process.
func TestChild(t *testing.T) {
	args := os.Getenv(manageChild)
	if args == "" {
		t.Skip("it is for child processes")
	}
	os.Exit(Main(strings.Split(args, "\n"), Streams{In: strings.NewReader(""), Out: os.Stdout, Err: os.Stderr}))
}

// child is a skep that a service manager has started.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	notify *net.UnixConn
	log    string // file
	done   chan error
}

// startService starts skep as systemd does: with sockets from file descriptor
// 3 on, and a socket on which it says how things stand.
func startService(t *testing.T, sockets []*os.File, args ...string) *child {
	t.Helper()
	dir := t.TempDir()
	addr := &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"}
	notify, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// The process that systemd names is the one that it starts: only a shell
	// knows its number before it becomes skep.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0], "-test.run", "^TestChild$")
	cmd.Env = append(os.Environ(), manageChild+"="+strings.Join(args, "\n"), "NOTIFY_SOCKET="+addr.Name,
		fmt.Sprintf("LISTEN_FDS=%d", len(sockets)), "LISTEN_FDNAMES=skep.socket")
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = sockets, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: cmd, notify: notify, log: log.Name(), done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() { defer close(ended); c.done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // that has ended already, if all went well
		<-ended
	})
	return c
}

func (c *child) said() string {
	text, _ := os.ReadFile(c.log)
	return string(text)
}

// tells waits for the next thing that skep says to its service manager.
func (c *child) tells(want string) {
	c.t.Helper()
	_ = c.notify.SetReadDeadline(time.Now().Add(30 * time.Second))
	buf := make([]byte, 4096)
	n, err := c.notify.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), want) {
		c.t.Fatalf("said %q, %v; want %q\n%s", buf[:n], err, want, c.said())
	}
}

// ends waits for the end of skep.
func (c *child) ends() error {
	c.t.Helper()
	select {
	case err := <-c.done:
		return err
	case <-time.After(30 * time.Second):
		c.t.Fatalf("it goes on\n%s", c.said())
		return nil
	}
}

func get(t *testing.T, network, addr, path string) string {
	t.Helper()
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}}}
	resp, err := client.Get("http://skep" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	return string(body)
}

// socket is an open TCP socket, and its address.
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

func TestManage_asAServiceOfSystemd(t *testing.T) {
	f, addr := socket(t)
	dir := t.TempDir()
	watch := filepath.Join(dir, "metrics.sock")
	config, err := json.Marshal(map[string]any{
		"host": []string{"fd://"}, "metrics-addr": "unix://" + watch, "discovery": "nodes://127.0.0.1:1", "state-dir": dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "skep.json")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	c := startService(t, []*os.File{f}, "manage", "--config", path)
	c.tells("READY=1")
	if got := get(t, "tcp", addr, "/_ping"); got != "OK" {
		t.Errorf("%q", got)
	}
	got := get(t, "unix", watch, "/metrics")
	requests := regexp.MustCompile(`(?m)^skep_requests_total\{.*\} 1$`).FindString(got)
	for _, label := range []string{`method="GET"`, `route="/_ping"`, `code="200"`} {
		if !strings.Contains(requests, label) {
			t.Errorf("%s is not in %q", label, requests)
		}
	}
	if !strings.Contains(got, "\n"+`skep_engines{state="Pending"} `) {
		t.Errorf("metrics: %s", got)
	}
	if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.tells("RELOADING=1\nMONOTONIC_USEC=")
	c.tells("READY=1")
	if got := get(t, "tcp", addr, "/_ping"); got != "OK" {
		t.Errorf("%q", got)
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.tells("STOPPING=1")
	if err := c.ends(); err != nil {
		t.Errorf("%v\n%s", err, c.said())
	}
}

func TestManage_withoutTheSocketsThatItWasToldOf(t *testing.T) {
	c := startService(t, nil, "manage", "-H", "fd://", "nodes://127.0.0.1:1")
	if err := c.ends(); err == nil || !strings.Contains(c.said(), "no sockets were handed over: start skep by a systemd socket unit") {
		t.Errorf("%v\n%s", err, c.said())
	}
}

func TestManage_aSocketByItsName(t *testing.T) {
	f, addr := socket(t)
	c := startService(t, []*os.File{f}, "manage", "-H", "fd://skep.socket", "nodes://127.0.0.1:1")
	c.tells("READY=1")
	if got := get(t, "tcp", addr, "/_ping"); got != "OK" {
		t.Errorf("%q", got)
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.tells("STOPPING=1")
	if err := c.ends(); err != nil {
		t.Errorf("%v\n%s", err, c.said())
	}
}

func TestManage_warnsOfOpenDoorsAtEveryStart(t *testing.T) {
	c := startService(t, nil, "manage", "--insecure", "-H", "tcp://0.0.0.0:0", "nodes://127.0.0.1:1")
	c.tells("READY=1")
	if !strings.Contains(c.said(), "level=WARN") || !strings.Contains(c.said(), "takes anyone's commands, and sends them in the clear") {
		t.Errorf("it is silent about that:\n%s", c.said())
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.ends(); err != nil {
		t.Errorf("%v\n%s", err, c.said())
	}
}

func TestManage_refusesToStart(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"without its plugin", []string{"--authorization-plugin", "no-such-plugin"}, "authorization plugin no-such-plugin: not found"},
		{"with metrics for all", []string{"--metrics-addr", "0.0.0.0:0"}, "--metrics-addr 0.0.0.0:0: profiles tell what runs"},
		{"without its certificate", []string{"--tls", "--tlscert", "/nowhere/c", "--tlskey", "/nowhere/k"}, "read --tlscert: open /nowhere/c"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log, err := os.Create(filepath.Join(t.TempDir(), "log"))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			args := append(append([]string{"manage", "-H", "tcp://127.0.0.1:0"}, tc.args...), "nodes://127.0.0.1:1")
			code := Main(args, Streams{In: strings.NewReader(""), Out: io.Discard, Err: log})
			said, _ := os.ReadFile(log.Name())
			if code != 1 || !strings.Contains(string(said), tc.want) {
				t.Errorf("status %d, %s", code, said)
			}
		})
	}
}
