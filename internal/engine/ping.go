package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// pinger probes one engine over a connection of its own, which it keeps. A
// thousand engines are probed hundreds of times a second by a manager that has
// nothing else to do: over http.Transport that costs three times as much, most
// of it for waking the two goroutines of each of its connections. It is not for
// use by several goroutines, and all its pings are given the same ctx.
type pinger struct {
	engine *Engine
	conn   net.Conn    // nil when there is none
	forget func() bool // ends the watch of ctx over conn
}

const (
	pingRequest = "GET /_ping HTTP/1.1\r\nHost: engine\r\nUser-Agent: skep\r\n\r\n"
	// maxPing bounds what an engine may answer: beyond it, the connection is
	// given up rather than read to its end.
	maxPing = 64 << 10
)

// ping asks for a sign of life. Its errors are those of call: a *StatusError, an
// *UnreachableError, or ctx's own when it was cancelled.
func (p *pinger) ping(ctx context.Context, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	kept := p.conn != nil
	err := p.exchange(ctx, deadline)
	if kept && errors.Is(err, errCutOff) && ctx.Err() == nil {
		// An engine may close a connection that was idle; that says nothing of it.
		err = p.exchange(ctx, deadline)
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

func (p *pinger) exchange(ctx context.Context, deadline time.Time) error {
	if p.conn == nil {
		if err := p.open(ctx, deadline); err != nil {
			return err
		}
	}
	_ = p.conn.SetDeadline(deadline)
	if err := ctx.Err(); err != nil { // its end may have set a deadline just before
		return err
	}
	reuse, err := p.roundTrip()
	if !reuse {
		p.close()
		return err
	}
	// A deadline that stays wakes the process for nothing.
	_ = p.conn.SetDeadline(time.Time{})
	return err
}

func (p *pinger) open(ctx context.Context, deadline time.Time) error {
	dialing, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := p.engine.dial(dialing)
	if err != nil {
		return err
	}
	p.conn = conn
	p.forget = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return nil
}

func (p *pinger) roundTrip() (reuse bool, err error) {
	if _, err := io.WriteString(p.conn, pingRequest); err != nil {
		return false, cutOff(err)
	}
	r := p.engine.cfg.Shared.readers.get(p.conn)
	defer p.engine.cfg.Shared.readers.put(r)
	if _, err := r.Peek(1); err != nil {
		return false, cutOff(err)
	}
	if plainPong(r) {
		return true, nil
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

// plainPong takes an answer as engines give it: a 200 of known length that is
// there as a whole, with nothing behind it, on a connection that stays. It leaves
// any other as it is. Most of what a ping costs besides is to parse its answer.
func plainPong(r *bufio.Reader) bool {
	answer, err := r.Peek(r.Buffered())
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		return false
	}
	head, body, whole := bytes.Cut(answer, []byte("\r\n\r\n"))
	_, fields, some := bytes.Cut(head, []byte("\r\n"))
	if !whole || !some {
		return false
	}
	// net/http takes an end of line that is half of one for a whole one.
	if ends := bytes.Count(head, []byte("\r\n")); bytes.Count(head, []byte("\r")) != ends || bytes.Count(head, []byte("\n")) != ends {
		return false
	}
	length := -1
	for line := range bytes.SplitSeq(fields, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(": "))
		switch {
		case !ok || bytes.EqualFold(name, []byte("Connection")) || bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return false
		case bytes.EqualFold(name, []byte("Content-Length")):
			n, err := strconv.ParseUint(string(value), 10, 16)
			if err != nil || length >= 0 {
				return false
			}
			length = int(n)
		}
	}
	if length != len(body) {
		return false
	}
	_, err = r.Discard(len(answer))
	return err == nil
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
		p.forget()
		p.conn.Close()
		p.conn, p.forget = nil, nil
	}
}
