//go:build linux

package storetest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout    = 60 * time.Second
	pauseTimeout    = 10 * time.Second
	exchangeTimeout = 2 * time.Second
	lookEvery       = 50 * time.Millisecond
	// tailSize is how much is shown of what a program has printed, in bytes.
	tailSize = 4000
)

// Server is a store that a test has started. It is for use by one goroutine.
type Server struct {
	Name    string
	Address string // host:port for clients

	args  []string
	data  string // the directory of its data
	log   string // the file that holds what it has printed
	ready func(ctx context.Context) error

	calls chan func() // of the thread that starts it; closed when the test ends
	cmd   *exec.Cmd   // nil while it is not running
}

// own makes the server end with the test. Its process ends when the thread does
// that has started it, and other packages of a test may throw threads away: it
// gets one that is kept for it.
func (s *Server) own(t *testing.T) {
	calls, ended := make(chan func()), make(chan struct{})
	s.calls = calls
	go func() {
		defer close(ended)
		runtime.LockOSThread()
		// A thread that ended here would take those with it whom tests started on
		// it before it was locked.
		defer runtime.UnlockOSThread()
		for call := range calls {
			call()
		}
	}()
	t.Cleanup(func() {
		s.Kill()
		close(calls)
		<-ended
	})
}

// Start starts it, after a Kill as well, and waits until it is ready.
func (s *Server) Start(t *testing.T) {
	t.Helper()
	s.launch(t)
	s.await(t)
}

// launch starts it and does not wait: members of a cluster wait for each other.
func (s *Server) launch(t *testing.T) {
	t.Helper()
	// A file, not a pipe: no goroutine of the test goes with it.
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(s.args[0], s.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	s.calls <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", s.Name, err)
	}
	s.cmd = cmd
}

func (s *Server) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := s.ready(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			text, _ := os.ReadFile(s.log)
			t.Fatalf("%s is not ready: %v\n%s", s.Name, err, text[max(0, len(text)-tailSize):])
		}
		time.Sleep(lookEvery)
	}
}

// Kill ends it so that it can prepare nothing for its end.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Restart kills it, and starts it with the data that it had.
func (s *Server) Restart(t *testing.T) {
	t.Helper()
	s.Kill()
	s.Start(t)
}

// Wipe restarts it without its data.
func (s *Server) Wipe(t *testing.T) {
	t.Helper()
	s.Kill()
	if err := os.RemoveAll(s.data); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
}

// Pause stops all its threads until Resume, as a machine that swaps itself to
// death does.
func (s *Server) Pause(t *testing.T) {
	t.Helper()
	Pause(t, s.cmd.Process)
}

// Resume undoes Pause.
func (s *Server) Resume(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatalf("resume %s: %v", s.Name, err)
	}
}

// Pause stops a process, and waits until it has stopped: its threads do so one
// by one, and meanwhile some still answer. It goes on when the test ends at the
// latest.
func Pause(t *testing.T, p *os.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatalf("pause process %d: %v", p.Pid, err)
	}
	t.Cleanup(func() { _ = p.Signal(syscall.SIGCONT) }) // it may have ended
	for until := time.Now().Add(pauseTimeout); !stopped(p.Pid); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("process %d does not stop", p.Pid)
		}
	}
}

// stopped tells whether all threads of a process are.
func stopped(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		// The state stands behind the name, which is in parentheses.
		if i := bytes.LastIndex(stat, []byte(") ")); err == nil && (i < 0 || stat[i+2] != 'T') {
			return false
		}
	}
	return len(stats) > 0
}

// Exchange asks a server and looks for a text in its answer.
func Exchange(ctx context.Context, address, question, want string) error {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(exchangeTimeout))
	if _, err := c.Write([]byte(question)); err != nil {
		return err
	}
	var got bytes.Buffer
	_, err = got.ReadFrom(c)
	if !bytes.Contains(got.Bytes(), []byte(want)) {
		return fmt.Errorf("answer %q, %v", got.String(), err)
	}
	return nil
}

// reach tells whether somebody listens there.
func reach(ctx context.Context, address string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// program finds a program. Without it the test is skipped, but not in CI.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name, err)
	}
	return path
}

func missing(t *testing.T, name string, err error) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	skip("%s is not installed: %v (make setup-tests installs it)", name, err)
}

// freePort is a port of the loopback interface that nobody uses.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// own makes servers end with the test, and starts them.
func own(t *testing.T, members []*Server) {
	t.Helper()
	for _, m := range members {
		m.own(t)
	}
	StartAll(t, members)
}

// StartAll starts the members of a cluster, after a Kill as well: each waits for
// others.
func StartAll(t *testing.T, members []*Server) {
	t.Helper()
	for _, m := range members {
		m.launch(t)
	}
	for _, m := range members {
		m.await(t)
	}
}
