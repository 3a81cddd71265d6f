package engine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/skep/skep/internal/rawstream"
)

// Hijacked is an engine's answer on a connection of its own. When Upgraded, the
// connection carries raw bytes both ways after Response's header: read from
// Reader, write to Conn. Else Response is an ordinary answer with a body.
// Either way the caller closes Conn.
type Hijacked struct {
	Response *http.Response
	Conn     net.Conn
	Reader   *bufio.Reader
	Upgraded bool
}

// Hijack sends a request on a connection of its own and waits for the head of
// the answer. ctx bounds the wait only; afterwards the connection is the
// caller's.
func (e *Engine) Hijack(ctx context.Context, r Request) (*Hijacked, error) {
	h, err := e.hijack(ctx, r)
	return h, e.suspect(err)
}

func (e *Engine) hijack(ctx context.Context, r Request) (*Hijacked, error) {
	if err := pass(ctx, r.Method); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(e.aliveContext(), func() { cancel(errStoppedAnswering) })
	defer stop()

	req, err := e.httpRequest(ctx, r)
	if err != nil {
		return nil, err
	}
	conn, err := e.dial(ctx)
	if err != nil {
		return nil, e.callError(ctx, err)
	}
	// Closing the connection is what ends a write or read that waits.
	guard := context.AfterFunc(ctx, func() { conn.Close() })
	reader := bufio.NewReader(conn)
	resp, err := roundTripOn(conn, reader, req)
	if !guard() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, e.callError(ctx, err)
	}
	return &Hijacked{Response: resp, Conn: conn, Reader: reader, Upgraded: rawstream.Begins(resp)}, nil
}

func roundTripOn(conn io.Writer, reader *bufio.Reader, req *http.Request) (*http.Response, error) {
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	resp, err := http.ReadResponse(reader, req)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return resp, nil
}
