//go:build linux

package virtualengine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// background is a command that runs while the test goes on. It is ended with
// the test at the latest.
type background struct {
	u    *user
	args []string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *transcript
	err  *transcript   // the same as out on a terminal
	pty  *os.File      // nil without a terminal
	read chan struct{} // closed when all of the terminal's output was read
	done chan struct{}
	code int // once done is closed
	end  error
}

// transcript collects what a command prints.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// start runs a command in the background.
func (u *user) start(args ...string) *background {
	u.t.Helper()
	b := &background{u: u, args: args, out: new(transcript), err: new(transcript), done: make(chan struct{})}
	b.cmd = u.command(context.Background(), args...)
	b.cmd.Stdout, b.cmd.Stderr = b.out, b.err
	var err error
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		u.t.Fatal(err)
	}
	b.begin()
	return b
}

// terminal runs a command in a terminal of its own, 24 lines of 80 columns.
func (u *user) terminal(args ...string) *background {
	u.t.Helper()
	b := &background{u: u, args: args, out: new(transcript), read: make(chan struct{}), done: make(chan struct{})}
	b.err = b.out
	ptm, pts, err := openTerminal()
	if err != nil {
		u.t.Fatalf("open a terminal: %v", err)
	}
	defer pts.Close()
	b.pty, b.in = ptm, ptm
	b.resize(24, 80)
	b.cmd = u.command(context.Background(), args...)
	b.cmd.Stdin, b.cmd.Stdout, b.cmd.Stderr = pts, pts, pts
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	go func() {
		defer close(b.read)
		_, _ = io.Copy(b.out, ptm) // fails when the last program in the terminal has ended
	}()
	u.t.Cleanup(func() { ptm.Close() })
	b.begin()
	return b
}

func (b *background) begin() {
	b.u.t.Helper()
	if err := b.cmd.Start(); err != nil {
		b.u.t.Fatalf("start docker %s: %v", strings.Join(b.args, " "), err)
	}
	go func() {
		defer close(b.done)
		b.end = b.cmd.Wait()
		b.code = b.cmd.ProcessState.ExitCode()
	}()
	b.u.t.Cleanup(b.kill)
}

// kill ends the command at once, as a lost terminal does.
func (b *background) kill() {
	_ = b.cmd.Process.Kill() // it may have ended
	<-b.done
}

func openTerminal() (ptm, pts *os.File, err error) {
	ptm, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.IoctlSetPointerInt(int(ptm.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		ptm.Close()
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(ptm.Fd()), unix.TIOCGPTN)
	if err == nil {
		pts, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ptm.Close()
	}
	return ptm, pts, err
}

// resize changes the size of the terminal.
func (b *background) resize(rows, columns uint16) {
	b.u.t.Helper()
	if err := unix.IoctlSetWinsize(int(b.pty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		b.u.t.Fatalf("resize the terminal: %v", err)
	}
}

func (b *background) String() string {
	s := fmt.Sprintf("$ docker %s &\nstdout so far:\n%s", strings.Join(b.args, " "), shorten(b.out.String()))
	if b.err != b.out {
		s += "\nstderr so far:\n" + shorten(b.err.String())
	}
	return s
}

// send types text.
func (b *background) send(text string) {
	b.u.t.Helper()
	if _, err := io.WriteString(b.in, text); err != nil {
		b.u.t.Fatalf("type %q: %v\n%s", text, err, b)
	}
}

// expect waits until text was printed, count times if given.
func (b *background) expect(text string, count ...int) {
	b.u.t.Helper()
	n := 1
	if len(count) > 0 {
		n = count[0]
	}
	b.u.eventually(20*time.Second, func() error {
		if got := strings.Count(b.out.String(), text); got < n {
			return fmt.Errorf("%q was printed %d times, not %d\n%s", text, got, n, b)
		}
		return nil
	})
}

func (b *background) signal(sig syscall.Signal) {
	b.u.t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		b.u.t.Fatalf("send %s: %v\n%s", sig, err, b)
	}
}

// running fails the test when the command has ended.
func (b *background) running() {
	b.u.t.Helper()
	select {
	case <-b.done:
		b.u.t.Fatalf("ended with status %d\n%s", b.code, b)
	default:
	}
}

// wait waits for the command's end.
func (b *background) wait(within time.Duration) result {
	b.u.t.Helper()
	began := time.Now()
	select {
	case <-b.done:
	case <-time.After(within):
		b.u.t.Fatalf("does not end within %s\n%s", within, b)
	}
	if b.pty != nil {
		<-b.read
	}
	r := result{u: b.u, args: b.args, stdout: b.out.String(), took: time.Since(began)}
	if b.err != b.out {
		r.stderr = b.err.String()
	}
	r.code = b.u.exitCode(b.end, b)
	return r
}
