package zk

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire dials for one session and keeps hold of its connection, for three things
// that the client library does not do: end a read from a server that hangs when
// the session is closed, bound the wait for the answer to the first request, and
// tell the timeout that the server has set.
type wire struct {
	ctx    context.Context // of dials under way; ended by close
	cancel context.CancelFunc
	limit  time.Duration // no read waits longer

	timeout atomic.Int64 // what the server has set, in milliseconds

	mu      sync.Mutex // guards what follows
	current net.Conn
	closed  bool
}

func newWire(limit time.Duration) *wire {
	ctx, cancel := context.WithCancel(context.Background())
	return &wire{ctx: ctx, cancel: cancel, limit: limit}
}

func (w *wire) negotiated() time.Duration {
	return time.Duration(w.timeout.Load()) * time.Millisecond
}

func (w *wire) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	c, err := d.DialContext(w.ctx, network, address)
	if err != nil {
		return nil, err
	}
	c = &conn{Conn: c, wire: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = c.Close()
		return nil, errors.New("the session is closed")
	}
	if w.current != nil {
		// The library forgets to close it when a session has expired.
		_ = w.current.Close()
	}
	w.current = c
	return c, nil
}

func (w *wire) close() {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.current != nil {
		_ = w.current.Close()
	}
}

// conn is one connection. One goroutine at a time reads from it.
type conn struct {
	net.Conn
	wire  *wire
	begin []byte // the first bytes of the first answer, up to greeting of them
}

// greeting is the beginning of the first answer on each connection: its length,
// the version of the protocol, and the timeout of the session in milliseconds,
// 4 bytes each, the highest first.
const greeting = 12

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if missing := greeting - len(c.begin); missing > 0 && n > 0 {
		c.begin = append(c.begin, p[:min(n, missing)]...)
		if timeout := readGreeting(c.begin); timeout > 0 {
			c.wire.timeout.Store(int64(timeout))
		}
	}
	return n, err
}

// readGreeting gives the timeout in milliseconds, zero if there is none: not
// yet, or because the session has expired.
func readGreeting(b []byte) int32 {
	if len(b) < greeting {
		return 0
	}
	return max(0, int32(binary.BigEndian.Uint32(b[8:])))
}

// SetReadDeadline brings every deadline down to the limit, also that there is
// none. A live server answers pings several times within it.
func (c *conn) SetReadDeadline(t time.Time) error {
	latest := time.Now().Add(c.wire.limit)
	if t.IsZero() || t.After(latest) {
		t = latest
	}
	return c.Conn.SetReadDeadline(t)
}
