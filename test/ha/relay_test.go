//go:build linux

package ha_test

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/skep/skep/internal/kvstore/storetest"
	"github.com/skep/skep/internal/lab"
)

// startRelay starts a way from the lab's LAN to a server of the host.
func startRelay(t *testing.T, l *lab.Lab, to string) *storetest.Relay {
	t.Helper()
	listener, err := listenOnLAN(l)
	if err != nil {
		t.Fatalf("listen on the LAN of the lab: %v", err)
	}
	return storetest.StartRelayAt(t, listener, to)
}

// listenOnLAN listens on the loopback interface of the lab's hub: a socket stays
// where it was made.
func listenOnLAN(l *lab.Lab) (net.Listener, error) {
	type result struct {
		listener net.Listener
		err      error
	}
	made := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		listener, err := inNetns(filepath.Join("/run/netns", l.Name()+"-hub"))
		made <- result{listener, err}
	}()
	r := <-made
	return r.listener, r.err
}

// inNetns listens in another network namespace. The thread of its goroutine is
// locked, and unlocked only if it is back where it was.
func inNetns(path string) (net.Listener, error) {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer home.Close()
	away, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer away.Close()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return listener, err
}
