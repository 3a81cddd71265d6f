package replica

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	"github.com/skep/skep/internal/rawstream"
)

const (
	// upgradeTimeout is how long a stream may take to begin, on top of the wait
	// for a primary.
	upgradeTimeout = time.Minute
)

// splicePrimary forwards a request whose connection turns into a raw stream, on
// a connection of its own. The user's is taken over only after the primary has
// agreed; an error is returned only while nothing was answered.
func (h *Handler) splicePrimary(w http.ResponseWriter, j *job, p *peer) error {
	ctx, end := context.WithCancelCause(p.ctx)
	defer end(nil)
	defer context.AfterFunc(rawstream.StopOf(j.r), func() { end(errStopping) })()
	wait, cancel := context.WithTimeout(ctx, h.cfg.Wait+upgradeTimeout)
	defer cancel()
	conn, err := h.dial(wait, p.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Closing the connection is what ends a write or read that waits.
	guard := context.AfterFunc(wait, func() { conn.Close() })
	reader, resp, err := h.ask(wait, conn, j, p)
	if !guard() && err == nil {
		err = context.Cause(wait)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if !rawstream.Begins(resp) {
		defer resp.Body.Close()
		if err := refusal(resp); err != nil {
			return err
		}
		passOn(w, resp)
		return nil
	}
	user, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer user.Close()
	// Deadlines of the HTTP server do not bind a stream.
	_ = user.SetDeadline(time.Time{})
	if rawstream.WriteHead(user, resp) == nil {
		rawstream.Splice(ctx, user, buffered.Reader, conn, reader)
	}
	return nil
}

// ask sends the request and reads the head of the answer.
func (h *Handler) ask(ctx context.Context, conn net.Conn, j *job, p *peer) (*bufio.Reader, *http.Response, error) {
	out := h.outgoing(ctx, j, p)
	defer out.Body.Close()
	for _, name := range []string{"Connection", "Upgrade"} {
		if values := j.r.Header[name]; values != nil {
			out.Header[name] = values
		}
	}
	if err := out.Write(conn); err != nil {
		return nil, nil, fmt.Errorf("send the request: %w", err)
	}
	head := &io.LimitedReader{R: conn, N: maxHead}
	reader := bufio.NewReader(head)
	resp, err := http.ReadResponse(reader, out)
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	head.N = math.MaxInt64
	return reader, resp, nil
}
