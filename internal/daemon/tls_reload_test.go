package daemon

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/dockerapi"
)

// door is an HTTPS server with credentials that can be reloaded.
func door(t *testing.T, c *Credentials) string {
	t.Helper()
	l, err := dockerapi.Listen("tcp://127.0.0.1:0", dockerapi.ListenOptions{TLS: c.Server()})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "in") })}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return l.Addr().String()
}

func mustLoad(t *testing.T, files TLSFiles) *Credentials {
	t.Helper()
	c, err := LoadCredentials(files)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends one request over an open connection.
func ask(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// visit dials with somebody's credentials, and asks.
func visit(c *Credentials, addr string) error {
	conn, err := c.Dial(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	return ask(conn)
}

func copyFiles(t *testing.T, from, to TLSFiles) {
	t.Helper()
	for _, pair := range [][2]string{{from.CA, to.CA}, {from.Cert, to.Cert}, {from.Key, to.Key}} {
		text, err := os.ReadFile(pair[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(pair[1], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReload_newConnectionsUseTheNewCertificatesAndOpenOnesGoOn(t *testing.T) {
	former, next := newAuthority(t), newAuthority(t)
	files := former.files("server")
	server := mustLoad(t, files)
	addr := door(t, server)
	early := mustLoad(t, former.files("early"))
	late := mustLoad(t, next.files("late"))

	open, err := early.Dial(context.Background(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := ask(open); err != nil {
		t.Fatal(err)
	}
	if err := visit(late, addr); err == nil {
		t.Fatal("the next CA counts before it is there")
	}

	copyFiles(t, next.files("server"), files)
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := ask(open); err != nil {
		t.Errorf("the connection that was open: %v", err)
	}
	if err := visit(late, addr); err != nil {
		t.Errorf("a client of the new CA: %v", err)
	}
	if err := visit(early, addr); err == nil {
		t.Error("a client of the former CA still comes in")
	}

	// skep as a client of engines: the same files, read again
	engineSide := mustLoad(t, next.files("engine"))
	engine := door(t, engineSide)
	if err := visit(server, engine); err != nil {
		t.Errorf("to an engine of the new CA: %v", err)
	}
}

func TestReload_aFileThatIsNoGoodChangesNothing(t *testing.T) {
	ours := newAuthority(t)
	files := ours.files("server")
	server := mustLoad(t, files)
	addr := door(t, server)
	friend := mustLoad(t, ours.files("friend"))
	for _, tc := range []struct{ name, file, text, want string }{
		{"no key", files.Key, "nonsense", "load --tlscert"},
		{"no CA", files.CA, "nonsense", "holds no certificate in PEM form"},
		{"a huge certificate", files.Cert, strings.Repeat("x", 5<<20), "is larger than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			good, err := os.ReadFile(tc.file)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.WriteFile(tc.file, good, 0o600) }()
			if err := os.WriteFile(tc.file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := server.Reload(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if err := visit(friend, addr); err != nil {
				t.Errorf("the former certificates do not count any more: %v", err)
			}
		})
	}
}

func TestTLS_aSessionOfAFormerCAIsNotTakenUpAgain(t *testing.T) {
	former, next := newAuthority(t), newAuthority(t)
	files := former.files("server")
	server := mustLoad(t, files)
	addr := door(t, server)
	cfg := mustLoad(t, former.files("client")).Client().Clone()
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	cfg.ServerName = "127.0.0.1"
	dial := func() error {
		conn, err := tls.Dial("tcp", addr, cfg)
		if err != nil {
			return err
		}
		defer conn.Close()
		return ask(conn)
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	// The server keeps its certificate, and takes another CA's clients.
	ca, err := os.ReadFile(next.files("other").CA)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.CA, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := dial(); err == nil {
		t.Error("came in by an old session")
	}
}

func TestTLS_speaksHTTP1Only(t *testing.T) {
	ours := newAuthority(t)
	addr := door(t, mustLoad(t, ours.files("server")))
	cfg := mustLoad(t, ours.files("client")).Client().Clone()
	cfg.ServerName, cfg.NextProtos = "127.0.0.1", []string{"h2", "http/1.1"}
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("speaks %q", got)
	}
}

// publicCAChild is set for the child of the test below: the system's
// certificates are read once in the life of a process.
const publicCAChild = "SKEP_TEST_PUBLIC_CA"

func TestTLSVerify_aCAOfTheSystemIsNotOurs(t *testing.T) {
	if os.Getenv(publicCAChild) == "" {
		dir := newAuthority(t).Files("stranger")
		cmd := exec.Command(os.Args[0], "-test.run", "^TestTLSVerify_aCAOfTheSystemIsNotOurs$", "-test.v")
		cmd.Env = append(os.Environ(), publicCAChild+"="+dir, "SSL_CERT_FILE="+filepath.Join(dir, "ca.pem"), "SSL_CERT_DIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestTLSVerify_aCAOfTheSystemIsNotOurs") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	dir := os.Getenv(publicCAChild)
	stranger := TLSFiles{Enable: true, Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}

	ours := newAuthority(t)
	addr := door(t, mustLoad(t, ours.files("server")))
	// He does not ask who we are, so that only we can refuse.
	if err := visit(mustLoad(t, stranger), addr); err == nil {
		t.Error("a client with a certificate of a public CA came in")
	}

	// The system takes that certificate for good, and yet no engine may show it.
	engine := door(t, mustLoad(t, stranger))
	host, _, _ := net.SplitHostPort(engine)
	conn, err := tls.Dial("tcp", engine, &tls.Config{ServerName: host})
	if err != nil {
		t.Fatalf("the system does not know the public CA, so this test shows nothing: %v", err)
	}
	conn.Close()
	if err := visit(mustLoad(t, ours.files("manager")), engine); err == nil {
		t.Error("an engine with a certificate of a public CA was spoken to")
	}
}

func TestDial_withoutTLSAndToSocketsIsPlain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	for name, c := range map[string]*Credentials{"none": nil, "some": mustLoad(t, newAuthority(t).files("x"))} {
		conn, err := c.Dial(context.Background(), "unix", path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := ask(conn); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		conn.Close()
	}
}
