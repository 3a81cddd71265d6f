package replica_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/rawstream"
	"github.com/skep/skep/internal/replica"
)

// raw takes the connection over after its answer, and echoes what it gets in
// upper case; at the end of input it says so.
func raw(head string) api {
	return func(m *manager, w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s\r\n\r\nhello %s from %s;", head, body, m.name)
		for {
			b, err := buf.ReadByte()
			if err != nil {
				break
			}
			fmt.Fprint(conn, strings.ToUpper(string(b)))
		}
		fmt.Fprint(conn, ";end")
	}
}

const (
	switching = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp"
	oldStream = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream"
	upgrade   = "Connection: Upgrade\r\nUpgrade: tcp\r\n"
)

// dial speaks HTTP by hand.
func (m *manager) dial(t *testing.T, request string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", m.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), bufio.NewReader(conn)
}

func wantHead(t *testing.T, r *bufio.Reader, status string) {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil || !strings.Contains(line, status) {
		t.Fatalf("answered %q, %v, want %s", line, err, status)
	}
	for line != "\r\n" {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
}

func wantBytes(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func TestReplica_splicesUpgradedConnections_withTheEndOfInput(t *testing.T) {
	for name, c := range map[string]struct{ request, head, status, greeting string }{
		"exec":                      {"POST /v1.41/exec/abc/start HTTP/1.1\r\nHost: x\r\n" + upgrade + "Content-Length: 13\r\n\r\n{\"Tty\":false}", switching, "101 UPGRADED", `hello {"Tty":false} from primary;`},
		"attach, as old clients do": {"POST /containers/x/attach?stream=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", oldStream, "200 OK", "hello  from primary;"},
		"input before the answer":   {"POST /containers/x/attach HTTP/1.1\r\nHost: x\r\n" + upgrade + "\r\n", switching, "101 UPGRADED", "hello  from primary;"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := cluster(t, raw(c.head))
			conn, reader := r.dial(t, c.request)
			if strings.HasPrefix(name, "input") {
				_, _ = io.WriteString(conn, "early")
				_ = conn.CloseWrite()
				wantHead(t, reader, c.status)
				wantBytes(t, reader, c.greeting+"EARLY;end")
			} else {
				wantHead(t, reader, c.status)
				wantBytes(t, reader, c.greeting)
				_, _ = io.WriteString(conn, "abc")
				wantBytes(t, reader, "ABC")
				_ = conn.CloseWrite()
				wantBytes(t, reader, ";end")
			}
			if _, err := reader.ReadByte(); err != io.EOF {
				t.Errorf("the stream does not end: %v", err)
			}
		})
	}
}

func TestReplica_passesOnARefusedUpgrade(t *testing.T) {
	r, _ := cluster(t, func(_ *manager, w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"no such container"}`, http.StatusNotFound)
	})
	_, reader := r.dial(t, "POST /containers/x/attach HTTP/1.1\r\nHost: x\r\n"+upgrade+"\r\n")
	resp, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "no such container") {
		t.Errorf("answered %s %q", resp.Status, body)
	}
}

func TestReplica_beginsAnUpgradeAtTheNewPrimary(t *testing.T) {
	r, primary := cluster(t, raw(switching))
	r.set(false, deadAddress(t))
	_, reader := r.dial(t, "POST /exec/abc/start HTTP/1.1\r\nHost: x\r\n"+upgrade+"Content-Length: 2\r\n\r\n{}")
	r.set(false, primary.addr)
	wantHead(t, reader, "101")
	wantBytes(t, reader, "hello {} from primary;")
}

// ticking streams a line, and another one at each send on more.
func ticking(more <-chan string, left chan<- struct{}) api {
	return func(m *manager, w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "begun")
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case line, ok := <-more:
				if !ok {
					return
				}
				fmt.Fprintln(w, line)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				close(left)
				return
			}
		}
	}
}

func (m *manager) stream(t *testing.T, ctx context.Context) *bufio.Reader {
	t.Helper()
	resp, err := m.server.Client().Do(m.request(t, http.MethodGet, "/events", "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return bufio.NewReader(resp.Body)
}

func TestReplica_passesOnStreamsAsTheyCome_alsoWhenThePrimaryWasRelieved(t *testing.T) {
	more, left := make(chan string), make(chan struct{})
	r, primary := cluster(t, ticking(more, left), func(c *replica.Config) { c.Ping = 10 * time.Millisecond })
	events := r.stream(t, t.Context())
	wantBytes(t, events, "begun\n")
	next := open(t, "next", nil)
	next.set(true, next.addr)
	primary.set(false, next.addr)
	r.set(false, next.addr)
	r.do(t, http.MethodPost, "/containers/create", "{}").want(t, http.StatusAccepted, "by next")
	<-time.After(100 * time.Millisecond) // many pings
	more <- "goes on"
	wantBytes(t, events, "goes on\n")
	close(more)
	if _, err := events.ReadByte(); err != io.EOF {
		t.Errorf("the stream does not end well: %v", err)
	}
}

func TestReplica_endsAStreamAtThePrimary_whenTheClientLeaves(t *testing.T) {
	left := make(chan struct{})
	r, _ := cluster(t, ticking(nil, left))
	ctx, cancel := context.WithCancel(t.Context())
	wantBytes(t, r.stream(t, ctx), "begun\n")
	cancel()
	soon(t, "the end of the stream at the primary", left)
}

func TestReplica_breaksAnAnswerThatIsNotWhole(t *testing.T) {
	r, primary := cluster(t, ticking(nil, make(chan struct{})))
	events := r.stream(t, t.Context())
	wantBytes(t, events, "begun\n")
	primary.server.CloseClientConnections()
	if _, err := events.ReadByte(); err == nil || err == io.EOF {
		t.Errorf("an answer that was cut ends with %v", err)
	}
}

func TestReplica_endsStreams_whenItStops(t *testing.T) {
	r, _ := cluster(t, raw(switching))
	_, reader := r.dial(t, "POST /containers/x/attach HTTP/1.1\r\nHost: x\r\n"+upgrade+"\r\n")
	wantHead(t, reader, "101")
	wantBytes(t, reader, "hello  from primary;")
	r.stop()
	if _, err := reader.ReadByte(); err == nil {
		t.Error("a stream goes on at a manager that has stopped")
	}
}

// A server that stops does not wait for streams as long as for orders.
func TestReplica_endsWhatIsForwarded_whenItsServerWantsThat(t *testing.T) {
	r, _ := cluster(t, raw(switching))
	stop, cancel := context.WithCancel(t.Context())
	defer cancel()
	door := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx, end := context.WithCancel(req.Context())
		defer end()
		if req.Method == http.MethodGet {
			defer context.AfterFunc(stop, end)()
		}
		r.handler.ServeHTTP(w, req.WithContext(ctx))
	}))
	door.Config.BaseContext = func(net.Listener) context.Context { return rawstream.WithStop(context.Background(), stop) }
	door.Start()
	defer door.Close()
	at := &manager{addr: door.Listener.Addr().String(), server: door}
	const attach = "POST /containers/x/attach HTTP/1.1\r\nHost: x\r\n" + upgrade + "\r\n"
	_, stream := at.dial(t, attach)
	wantHead(t, stream, "101")
	wantBytes(t, stream, "hello  from primary;")
	r.set(false, "")
	question := at.later(t, http.MethodGet, "/exec/x/json", "")
	_, waiting := at.dial(t, attach)
	order := at.later(t, http.MethodPost, "/containers/create", "")
	<-time.After(50 * time.Millisecond) // all of them wait
	cancel()
	if _, err := stream.ReadByte(); err == nil {
		t.Error("a stream goes on")
	}
	soon(t, "the answer to the question", question).want(t, http.StatusServiceUnavailable, "this manager is stopping")
	wantHead(t, waiting, "503")
	r.set(true, r.addr) // orders may still be carried out
	soon(t, "the answer to the order", order)
}

// hole takes connections and never says anything, like a process that was
// stopped by a signal.
func hole(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestReplica_givesUpAPrimaryThatHangs_onceAnotherOneLeads(t *testing.T) {
	r, primary := cluster(t, nil, func(c *replica.Config) { c.Ping = 50 * time.Millisecond })
	silent := hole(t)
	r.set(false, silent)
	question := r.later(t, http.MethodGet, "/containers/json", "")
	order := r.later(t, http.MethodPost, "/containers/x/start", "")
	conn, reader := r.dial(t, "POST /containers/x/attach HTTP/1.1\r\nHost: x\r\n"+upgrade+"\r\n")
	defer conn.Close()
	select {
	case a := <-question:
		t.Fatalf("answered %q", a.body)
	case <-time.After(300 * time.Millisecond): // as long as no other leads, it is waited for
	}
	r.set(false, primary.addr)
	soon(t, "the answer to the question", question).want(t, http.StatusAccepted, "by primary")
	soon(t, "the answer to the order", order).want(t, http.StatusInternalServerError, "has stopped answering", "it is not known whether", silent)
	wantHead(t, reader, "500")
}

func TestReplica_usesTheCertificatesOfTheManager(t *testing.T) {
	primary := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			raw(switching)(&manager{name: r.TLS.PeerCertificates[0].Issuer.Organization[0]}, w, r)
			return
		}
		fmt.Fprintf(w, "%s by a manager with a certificate of %s", r.Proto, r.TLS.PeerCertificates[0].Issuer.Organization[0])
	}))
	primary.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	primary.StartTLS()
	defer primary.Close()
	pool := x509.NewCertPool()
	pool.AddCert(primary.Certificate())
	ours := &tls.Config{Certificates: primary.TLS.Certificates, RootCAs: pool, MinVersion: tls.VersionTLS12}

	r := open(t, "replica", nil, func(c *replica.Config) { c.Dial = (&tls.Dialer{Config: ours}).DialContext })
	r.set(false, primary.Listener.Addr().String())
	r.do(t, http.MethodGet, "/containers/json", "").want(t, http.StatusOK, "HTTP/1.1 by a manager with a certificate of Acme Co")
	conn, reader := r.dial(t, "POST /containers/x/attach HTTP/1.1\r\nHost: x\r\n"+upgrade+"\r\n")
	wantHead(t, reader, "101")
	_ = conn.CloseWrite()
	wantBytes(t, reader, "hello  from Acme Co;;end")

	stranger := open(t, "replica", nil, func(c *replica.Config) {
		c.Dial = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext
	})
	stranger.set(false, primary.Listener.Addr().String())
	began := time.Now()
	stranger.do(t, http.MethodPost, "/containers/create", "").want(t, http.StatusServiceUnavailable, "certificate")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to see that the primary is a stranger", took)
	}
}
