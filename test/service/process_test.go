//go:build linux

package service_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a skep, or what becomes one.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	notify *net.UnixConn // where it tells its service manager how things stand
	log    string        // the file that holds what it has printed
	done   chan error    // has what Wait gave
}

// program is what is started: its arguments, more of its environment, and the
// files that it gets from descriptor 3 on.
type program struct {
	args, env []string
	files     []*os.File
}

// start starts a program that tells how things stand; it ends with the test.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return program{args: args}.start(t)
}

func (what program) start(t *testing.T) *process {
	t.Helper()
	dir := shortDir(t)
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
	cmd := exec.Command(what.args[0], what.args[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "NOTIFY_SOCKET=" + addr.Name}, what.env...)
	cmd.ExtraFiles = what.files
	cmd.Stdout, cmd.Stderr = log, log // a file, not a pipe: no goroutine of the test goes with it
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, notify: notify, log: log.Name(), done: make(chan error, 1)}
	ended := make(chan struct{})
	go func() { defer close(ended); p.done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // that has ended already, if all went well
		<-ended
	})
	return p
}

// manageLine is a command line of skep manage, with its state in a directory of
// the test.
func manageLine(t *testing.T, args ...string) []string {
	return append([]string{os.Getenv(skepBin), "manage", "--state-dir", t.TempDir()}, args...)
}

// manage starts skep manage, and waits until it is ready.
func manage(t *testing.T, args ...string) *process {
	t.Helper()
	p := start(t, manageLine(t, args...)...)
	p.tells("READY=1")
	return p
}

// shortDir is a directory for sockets, whose paths are short.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "skep")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (p *process) said() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// tells waits for the next thing that skep says to its service manager, and
// gives the rest of it.
func (p *process) tells(want string) (rest string) {
	p.t.Helper()
	_ = p.notify.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	n, err := p.notify.Read(buf)
	rest, ok := strings.CutPrefix(string(buf[:n]), want)
	if err != nil || !ok {
		p.t.Fatalf("said %q, %v; want %q\n%s", buf[:n], err, want, p.said())
	}
	return rest
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// reload has it read its certificates again, as systemd does, and waits until
// that is done. What it says of the time must be the time of the machine's
// clock, which systemd compares to the moment of its signal.
func (p *process) reload() {
	p.t.Helper()
	before := monotonic(p.t)
	p.signal(syscall.SIGHUP)
	text := p.tells("RELOADING=1\nMONOTONIC_USEC=")
	at, err := strconv.ParseInt(text, 10, 64)
	if after := monotonic(p.t); err != nil || at < before || at > after {
		p.t.Errorf("reloading at %q, %v; want a time from %d to %d", text, err, before, after)
	}
	p.tells("READY=1")
}

// ends waits for the end of skep, which must be a good one.
func (p *process) ends() {
	p.t.Helper()
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("%v\n%s", err, p.said())
		}
	case <-time.After(patience):
		p.t.Fatalf("it goes on\n%s", p.said())
	}
}

// stop ends it as systemd does.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.tells("STOPPING=1")
	p.ends()
}

// freePort is a port of the loopback interface that nobody uses.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
