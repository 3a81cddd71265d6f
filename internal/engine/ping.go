package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// pinger probes one engine over a connection of its own, which it keeps. A
// thousand engines are probed hundreds of times a second by a manager that has
// nothing else to do: over http.Transport that costs three times as much, most
// of it for waking the two goroutines of each of its connections. It is not for
// use by several goroutines.
type pinger struct {
	engine *Engine
	conn   net.Conn // nil when there is none
}

const (
	pingRequest = "GET /_ping HTTP/1.1\r\nHost: engine\r\nUser-Agent: skep\r\n\r\n"
	// maxPing bounds what an engine may answer: beyond it, the connection is
	// given up rather than read to its end.
	maxPing = 64 << 10
)

// readers are shared: a buffer is in use only while an answer is awaited.
type pingReaders struct{ pool sync.Pool }

func (r *pingReaders) get(from io.Reader) *bufio.Reader {
	if b, ok := r.pool.Get().(*bufio.Reader); ok {
		b.Reset(from)
		return b
	}
	return bufio.NewReaderSize(from, 1<<10)
}

func (r *pingReaders) put(b *bufio.Reader) {
	b.Reset(nil)
	r.pool.Put(b)
}

// ping asks for a sign of life. Its errors are those of call: a *StatusError, an
// *UnreachableError, or ctx's own when it was cancelled.
func (p *pinger) ping(ctx context.Context) error {
	kept := p.conn != nil
	err := p.exchange(ctx)
	if kept && errors.Is(err, errCutOff) && ctx.Err() == nil {
		// An engine may close a connection that was idle; that says nothing of it.
		err = p.exchange(ctx)
	}
	var status *StatusError
	if err == nil || errors.As(err, &status) {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.DeadlineExceeded
	}
	return p.engine.callError(ctx, err)
}

// errCutOff says that a connection ended before the first byte of an answer.
var errCutOff = errors.New("the engine closed the connection")

func (p *pinger) exchange(ctx context.Context) error {
	if p.conn == nil {
		conn, err := p.engine.dial(ctx)
		if err != nil {
			return err
		}
		p.conn = conn
	}
	deadline, _ := ctx.Deadline() // none is the zero time, which is none
	_ = p.conn.SetDeadline(deadline)
	conn := p.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	reuse, err := p.roundTrip()
	if !stop() || !reuse {
		p.close() // its deadline may be set at any time from now on
	}
	return err
}

func (p *pinger) roundTrip() (reuse bool, err error) {
	if _, err := io.WriteString(p.conn, pingRequest); err != nil {
		return false, cutOff(err)
	}
	r := p.engine.pings.get(p.conn)
	defer p.engine.pings.put(r)
	if _, err := r.Peek(1); err != nil {
		return false, cutOff(err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return false, fmt.Errorf("read answer to GET /_ping: %w", err)
	}
	resp.Body = &limitedBody{io.LimitReader(resp.Body, maxPing), resp.Body}
	if resp.StatusCode >= 400 {
		return false, ReadError(resp)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		return false, fmt.Errorf("read answer to GET /_ping: %w", err)
	}
	return n < maxPing && !resp.Close && r.Buffered() == 0, nil
}

type limitedBody struct {
	io.Reader
	io.Closer
}

func cutOff(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", errCutOff, err)
}

// close gives up the connection; the next ping opens another.
func (p *pinger) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}
