package replica

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// upgradeTimeout is how long a stream may take to begin, on top of the wait
	// for a primary.
	upgradeTimeout = time.Minute
	// lingering is how long a user's side may stay open after the primary has
	// said all it had to say.
	lingering = 10 * time.Second
)

// splicePrimary forwards a request whose connection turns into a raw stream, on
// a connection of its own. The user's is taken over only after the primary has
// agreed; an error is returned only while nothing was answered.
func (h *Handler) splicePrimary(w http.ResponseWriter, j *job, p *peer) error {
	wait, cancel := context.WithTimeout(p.ctx, h.cfg.Wait+upgradeTimeout)
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
		if p.ctx.Err() != nil {
			err = context.Cause(p.ctx)
		}
		return err
	}
	stop := context.AfterFunc(p.ctx, func() { conn.Close() })
	defer stop()
	if !isUpgraded(resp) {
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
	if writeHead(user, resp) == nil {
		splice(p.ctx, user, buffered.Reader, conn, reader)
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

// isUpgraded: engines answer 101 to clients that ask for an upgrade, and to
// older ones 200 with a raw stream and no length.
func isUpgraded(resp *http.Response) bool {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return true
	}
	return resp.StatusCode == http.StatusOK && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 &&
		strings.HasPrefix(resp.Header.Get("Content-Type"), "application/vnd.docker.")
}

// writeHead passes on the head of the primary's answer as it is.
func writeHead(w io.Writer, resp *http.Response) error {
	buf := bufio.NewWriter(w)
	_, _ = buf.WriteString("HTTP/1.1 " + resp.Status + "\r\n")
	_ = resp.Header.Write(buf)
	_, _ = buf.WriteString("\r\n")
	return buf.Flush()
}

// splice carries bytes both ways until both sides have ended, or one has
// broken. The end of one direction is passed on as such: that is how the end
// of standard input reaches a container.
func splice(ctx context.Context, user net.Conn, fromUser io.Reader, primary net.Conn, fromPrimary io.Reader) {
	stop := context.AfterFunc(ctx, func() { user.Close(); primary.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(primary, fromUser); err != nil {
			primary.Close()
			return
		}
		closeWrite(primary)
	}()
	if _, err := io.Copy(user, fromPrimary); err != nil {
		user.Close()
		primary.Close()
	} else {
		closeWrite(user)
		_ = user.SetReadDeadline(time.Now().Add(lingering))
	}
	<-done
}

// closeWrite ends one direction; what cannot do that is closed.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	c.Close()
}
