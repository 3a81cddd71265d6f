// Package rawstream is what every room does alike that passes on what it does not
// read: the headers that go all the way, the body of an answer as it comes, and
// connections that stop being HTTP, as those of attach, exec and builds do, for as
// long as the server lets them.
//
// It opens and closes no connections but those that it is handed.
package rawstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// lingering is how long the user's side may stay open after the other side has
// said all that it had to say.
const lingering = 10 * time.Second

// Begins says whether a stream follows this answer: engines answer 101 to clients
// that ask for an upgrade, and to older ones 200 with a raw stream and no length.
func Begins(resp *http.Response) bool {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return true
	}
	return resp.StatusCode == http.StatusOK && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 &&
		strings.HasPrefix(resp.Header.Get("Content-Type"), "application/vnd.docker.")
}

// WriteHead passes on the head of an answer as it is.
func WriteHead(w io.Writer, resp *http.Response) error {
	buf := bufio.NewWriter(w)
	_, _ = buf.WriteString("HTTP/1.1 " + resp.Status + "\r\n") // Flush tells
	_ = resp.Header.Write(buf)
	_, _ = buf.WriteString("\r\n")
	return buf.Flush()
}

// Splice carries bytes both ways until both sides have ended, one has broken, or
// ctx is done. The end of one direction is passed on as such: that is how the end
// of standard input reaches a container. What was read of a connection ahead of
// time is in its reader.
func Splice(ctx context.Context, user net.Conn, fromUser io.Reader, server net.Conn, fromServer io.Reader) {
	stop := context.AfterFunc(ctx, func() { user.Close(); server.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := io.Copy(server, fromUser); err != nil {
			server.Close()
			return
		}
		closeWrite(server)
	}()
	if _, err := io.Copy(user, fromServer); err != nil {
		user.Close()
		server.Close()
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
