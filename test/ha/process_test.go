//go:build linux

package ha_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/skep/skep/internal/kvstore/storetest"
	"github.com/skep/skep/internal/lab"
)

// process is a skep on the LAN.
type process struct {
	args []string
	log  string
	lab  *lab.Lab
	exe  string

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func (p *process) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// Not a test's context: it lasts until it is stopped.
	p.cmd = p.lab.Command(context.Background(), lab.Hub, p.exe, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start skep: %v", err)
	}
	done := make(chan struct{})
	p.done = done
	go func(cmd *exec.Cmd) {
		defer close(done)
		_ = cmd.Wait() // its log says it
	}(p.cmd)
}

func (p *process) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal %v: %v", sig, err)
	}
}

// kill ends it in the middle of whatever it does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	<-p.done
}

// stop ends it as a service manager does, and says what was wrong with it.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	select {
	case <-p.done:
	default:
		_ = p.cmd.Process.Signal(syscall.SIGCONT) // should a test have ended early
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(25 * time.Second):
			t.Errorf("skep %s has not ended 25 s after SIGTERM\n%s", p.args[0], tail(p.log, 4000))
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
	p.cmd = nil
	log, err := os.ReadFile(p.log)
	if err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"DATA RACE", "panic:", "fault in a request", "fatal error:"} {
		if at := bytes.Index(log, []byte(bad)); at >= 0 {
			t.Errorf("the log of skep %s has %q:\n%s", p.args[0], bad, log[at:min(len(log), at+4000)])
		}
	}
}

// pause stops it until resume.
func (p *process) pause(t *testing.T) {
	t.Helper()
	storetest.Pause(t, p.cmd.Process)
}

func (p *process) resume(t *testing.T) { p.signal(t, syscall.SIGCONT) }
