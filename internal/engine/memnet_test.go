package engine_test

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// memNet is a network in memory with one listener: its connections block on
// conditions only, so that time in a synctest bubble goes on while they wait.
type memNet struct {
	mu      sync.Mutex
	refuse  bool // dials fail, as where nobody listens; guarded by mu, as are all below
	backlog chan net.Conn
	closed  chan struct{}
	conns   []*memConn
	dials   int
}

func newMemNet() *memNet {
	return &memNet{backlog: make(chan net.Conn, 1024), closed: make(chan struct{})}
}

func (n *memNet) Dial(ctx context.Context, network, target string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials++
	if n.refuse {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	near, far := memPipe()
	n.conns = append(n.conns, near)
	select {
	case n.backlog <- far:
		return near, nil
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Dials is how many connections were asked for.
func (n *memNet) Dials() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

// Cut breaks all connections; with refuse, there are no new ones either.
func (n *memNet) Cut(refuse bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = refuse
	for _, c := range n.conns {
		c.reset()
	}
	n.conns = nil
}

func (n *memNet) Accept() (net.Conn, error) {
	select {
	case c := <-n.backlog:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *memNet) Close() error {
	select {
	case <-n.closed:
	default:
		close(n.closed)
	}
	return nil
}

func (n *memNet) Addr() net.Addr { return memAddr{} }

type memAddr struct{}

func (memAddr) Network() string { return "mem" }
func (memAddr) String() string  { return "mem" }

// memConn is one end of a connection; each direction can end by itself.
type memConn struct{ in, out *memHalf }

func memPipe() (a, b *memConn) {
	x, y := newMemHalf(), newMemHalf()
	return &memConn{x, y}, &memConn{y, x}
}

func (c *memConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *memConn) CloseWrite() error           { c.out.end(io.EOF); return nil }

func (c *memConn) Close() error {
	c.out.end(io.EOF)
	c.in.hangUp()
	return nil
}

func (c *memConn) reset() {
	for _, h := range []*memHalf{c.in, c.out} {
		h.drop()
		h.end(syscall.ECONNRESET)
		h.hangUp()
	}
}

func (*memConn) LocalAddr() net.Addr  { return memAddr{} }
func (*memConn) RemoteAddr() net.Addr { return memAddr{} }

func (c *memConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}
func (c *memConn) SetReadDeadline(t time.Time) error  { c.in.readBy.set(c.in, t); return nil }
func (c *memConn) SetWriteDeadline(t time.Time) error { c.out.writeBy.set(c.out, t); return nil }

// memHalf is one direction.
type memHalf struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte // guarded by mu, as are all below
	ended   error  // what readers get after buf; nil while the writer goes on
	deaf    bool   // the reader has gone
	readBy  memDeadline
	writeBy memDeadline
}

const memBuffer = 64 << 10

func newMemHalf() *memHalf {
	h := &memHalf{}
	h.changed.L = &h.mu
	return h
}

func (h *memHalf) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case h.deaf:
			return 0, net.ErrClosed
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			h.changed.Broadcast()
			return n, nil
		case h.ended != nil:
			return 0, h.ended
		}
		h.changed.Wait()
	}
}

func (h *memHalf) write(p []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(p) > 0 {
		switch room := memBuffer - len(h.buf); {
		case h.writeBy.passed():
			return n, os.ErrDeadlineExceeded
		case h.ended != nil:
			return n, net.ErrClosed
		case h.deaf:
			return n, syscall.EPIPE
		case room > 0:
			some := p[:min(room, len(p))]
			h.buf = append(h.buf, some...)
			p, n = p[len(some):], n+len(some)
			h.changed.Broadcast()
		default:
			h.changed.Wait()
		}
	}
	return n, nil
}

func (h *memHalf) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended == nil {
		h.ended = err
	}
	h.changed.Broadcast()
}

func (h *memHalf) hangUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deaf = true
	h.changed.Broadcast()
}

func (h *memHalf) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf = nil
}

// memDeadline is guarded by the mu of its half.
type memDeadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *memDeadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *memDeadline) set(h *memHalf, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changed.Broadcast()
		})
	}
	h.changed.Broadcast()
}
