//go:build linux

package storetest

import (
	"net"
	"sync"
	"testing"
)

// Relay is a way to a server that can be cut: silently, so that nothing passes
// any more and no connection is closed, as when a cable is pulled; or so that
// all are closed and new ones are refused, as by a firewall that says no.
type Relay struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	cut    bool
	refuse bool
	conns  map[net.Conn]bool // those of clients, and those to the server
}

// StartRelay starts a relay that ends with the test.
func StartRelay(t *testing.T, to string) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return StartRelayAt(t, l, to)
}

// StartRelayAt starts a relay that clients reach at a listener, which it closes.
func StartRelayAt(t *testing.T, l net.Listener, to string) *Relay {
	r := &Relay{listener: l, to: to, conns: make(map[net.Conn]bool)}
	r.running.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

// Address is that at which clients reach it.
func (r *Relay) Address() string { return r.listener.Addr().String() }

func (r *Relay) accept() {
	for {
		from, err := r.listener.Accept()
		if err != nil {
			return
		}
		switch passes, refused := r.keep(from); {
		case refused:
			r.drop(from)
			continue
		case !passes:
			continue // it was accepted, and that is all
		}
		to, err := net.Dial("tcp", r.to)
		if err != nil {
			r.drop(from)
			continue
		}
		_, _ = r.keep(to)
		r.running.Go(func() { r.copy(from, to) })
		r.running.Go(func() { r.copy(to, from) })
	}
}

// keep takes a connection in, and tells what happens to what comes from it.
func (r *Relay) keep(c net.Conn) (passes, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = true
	return !r.cut, r.refuse
}

func (r *Relay) drop(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(r.conns, c)
	}
}

// Open is how many connections there are on both sides.
func (r *Relay) Open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

func (r *Relay) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if r.isCut() {
			return // for good: what was lost on the way is lost
		}
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			r.drop(to, from)
			return
		}
	}
}

func (r *Relay) isCut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cut
}

// Pull lets nothing pass any more, and closes nothing.
func (r *Relay) Pull() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
}

// Slam closes all connections and refuses others.
func (r *Relay) Slam() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = true
	for c := range r.conns {
		_ = c.Close()
	}
}

// Repair lets new connections pass. Those that were cut stay dead.
func (r *Relay) Repair() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut, r.refuse = false, false
}

func (r *Relay) close() {
	_ = r.listener.Close()
	r.mu.Lock()
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}
