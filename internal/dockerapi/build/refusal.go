package build

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// refusalTime bounds how long a refused client is talked to, so that it
	// cannot keep its connection, nor a manager from stopping.
	refusalTime = 5 * time.Second
	// failedPrecondition is gRPC's status 9. Clients wait and try again after an
	// "unavailable" (14), where this one is shown to the user at once.
	failedPrecondition = 9
)

// refuseCalls tells a client of BuildKit's why it is not served. Such clients
// show no body of a refused upgrade, only that it was refused; what they do
// show is the error of a call. So the connection is upgraded all the same, and
// every call on it fails with the reason.
func refuseCalls(w http.ResponseWriter, why error) error {
	return upgraded(w, func(t *talk) {
		ctx, cancel := context.WithTimeout(context.Background(), refusalTime)
		defer cancel()
		serveOne(ctx, t, failEveryCall(why.Error()))
	})
}

// endSession ends a session whose build was refused before it has begun. Such a
// client waits for the end of its session before it shows why the build was
// refused; it would show that the session was refused if it were; and one whose
// build was refused sooner than it began its session never ends that by itself.
func endSession(w http.ResponseWriter) error { return upgraded(w, func(*talk) {}) }

// upgraded makes a connection what the client asks for, and talks on it.
func upgraded(w http.ResponseWriter, do func(*talk)) error {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{}) // those of the HTTP server
	const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
	if _, err := io.WriteString(conn, head); err != nil {
		return nil // the client has gone
	}
	do(&talk{Conn: conn, in: buffered.Reader})
	return nil
}

// failEveryCall answers gRPC calls with an error, as gRPC says it over HTTP/2.
func failEveryCall(message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", strconv.Itoa(failedPrecondition))
		w.Header().Set("Grpc-Message", grpcText(message))
	}
}

// grpcText encodes a message for a header, as gRPC wants it: all that is not
// printable ASCII, and the percent sign, as percent and two digits.
func grpcText(message string) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for _, b := range []byte(message) {
		if b >= ' ' && b <= '~' && b != '%' {
			out.WriteByte(b)
		} else {
			out.Write([]byte{'%', digits[b>>4], digits[b&15]})
		}
	}
	return out.String()
}

// serveOne speaks HTTP/2 on one connection until the other side closes it or
// ctx ends.
func serveOne(ctx context.Context, t *talk, h http.Handler) {
	ctx, t.closed = context.WithCancel(ctx)
	defer t.closed()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: h, Protocols: &protocols, ReadHeaderTimeout: refusalTime, MaxHeaderBytes: 64 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // what a client says wrongly is its own affair
	}
	only := &oneListener{talk: t, ctx: ctx}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(only) })
	<-ctx.Done()
	server.Close()
	serving.Wait()
}

// talk is a connection of which the server has read something ahead.
type talk struct {
	net.Conn
	in     *bufio.Reader
	closed context.CancelFunc // called when the connection is
}

func (t *talk) Read(p []byte) (int, error) { return t.in.Read(p) }

func (t *talk) Close() error {
	defer t.closed()
	return t.Conn.Close()
}

// oneListener is a listener to which one connection comes.
type oneListener struct {
	talk *talk
	ctx  context.Context
	came bool // only Accept uses it
}

func (l *oneListener) Accept() (net.Conn, error) {
	if !l.came {
		l.came = true
		return l.talk, nil
	}
	<-l.ctx.Done()
	return nil, net.ErrClosed
}

func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return l.talk.LocalAddr() }
