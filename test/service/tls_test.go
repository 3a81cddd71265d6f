//go:build linux

package service_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// ping asks over an open connection.
func ping(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprint(conn, "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "OK" {
		return fmt.Errorf("%q %w", body, err)
	}
	return nil
}

// visit connects, and asks: a refusal of TLS 1.3 comes with the answer.
func visit(addr string, cfg *tls.Config) (tls.ConnectionState, error) {
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), ping(conn)
}

func TestTLS_newConnectionsUseNewCertificatesAfterAReload(t *testing.T) {
	former, next := newAuthority(t, "former CA"), newAuthority(t, "next CA")
	files, addr := former.identity(t, "manager, formerly"), freePort(t)
	p := manage(t, append(files.flags(), "-H", addr, "nodes://127.0.0.1:1")...)
	early, late := former.identity(t, "early"), next.identity(t, "late")

	open, err := tls.Dial("tcp", addr, early.client())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := ping(open); err != nil {
		t.Fatal(err)
	}
	early.docker(addr).prints("skep", "version")

	files.become(next.identity(t, "manager, renewed"))
	if state, err := visit(addr, early.client()); err != nil || state.PeerCertificates[0].Subject.CommonName != "manager, formerly" {
		t.Errorf("files count before they are read: %v", err)
	}
	p.reload()
	if err := ping(open); err != nil {
		t.Errorf("the connection that was open: %v", err)
	}
	if state, err := visit(addr, late.client()); err != nil || state.PeerCertificates[0].Subject.CommonName != "manager, renewed" {
		t.Errorf("a client of the next CA: %v", err)
	}
	late.docker(addr).prints("skep", "version")
	trusting := early.client()
	trusting.InsecureSkipVerify = true // so that only skep can refuse
	if _, err := visit(addr, trusting); err == nil {
		t.Error("a client of the former CA still comes in")
	}

	// Half a renewal changes nothing.
	files.write("key.pem", []byte("nonsense"))
	p.reload()
	if _, err := visit(addr, late.client()); err != nil {
		t.Errorf("after a reload of a broken key: %v", err)
	}
	if !strings.Contains(p.said(), "the new certificates are no good, the former ones stay in use") {
		t.Errorf("nobody is told:\n%s", p.said())
	}
	p.stop()
}

func TestTLS_isNoOlderThan12AndSpeaksHTTP1(t *testing.T) {
	ca, addr := newAuthority(t, "CA"), freePort(t)
	manage(t, append(ca.identity(t, "manager").flags(), "-H", addr, "nodes://127.0.0.1:1")...)
	for version, welcome := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		cfg := ca.identity(t, "client").client()
		cfg.MinVersion, cfg.MaxVersion, cfg.NextProtos = version, version, []string{"h2", "http/1.1"}
		state, err := visit(addr, cfg)
		if (err == nil) != welcome {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if welcome && state.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%s speaks %q", tls.VersionName(version), state.NegotiatedProtocol)
		}
	}
}

// A CA that the system trusts is one that anybody can have a certificate of.
func TestTLSVerify_aPublicCAIsAStranger(t *testing.T) {
	ours, public := newAuthority(t, "our CA"), newAuthority(t, "public CA")
	stranger := public.identity(t, "stranger")
	manager := ours.identity(t, "manager")

	// An engine that shows a certificate of the public CA to whoever comes.
	// What skep says to it is more than it should.
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: stranger.client().Certificates})
	if err != nil {
		t.Fatal(err)
	}
	spoken := make(chan struct{}, 1)
	server := &http.Server{ErrorLog: nowhere(), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case spoken <- struct{}{}:
		default:
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })

	addr := freePort(t)
	p := program{
		args: manageLine(t, append(manager.flags(), "-H", addr, "nodes://"+l.Addr().String())...),
		env:  []string{"SSL_CERT_FILE=" + stranger.file("ca.pem"), "SSL_CERT_DIR=/nowhere"},
	}.start(t)
	p.tells("READY=1")
	if _, err := visit(addr, ours.identity(t, "friend").client()); err != nil {
		t.Errorf("a client of our CA: %v", err)
	}
	cfg := stranger.client()
	cfg.InsecureSkipVerify = true // so that only skep can refuse
	if _, err := visit(addr, cfg); err == nil {
		t.Error("a client with a certificate of a public CA came in")
	}
	cfg.Certificates = nil
	if _, err := visit(addr, cfg); err == nil {
		t.Error("a client without a certificate came in")
	}
	stranger.trust(ours)
	stranger.docker(addr).fails("certificate", "version")

	friend := ours.identity(t, "friend").docker(addr)
	for until := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, err := friend.run("info")
		if err == nil && strings.Contains(out, "certificate") {
			break // info says why the engine is not spoken to
		}
		if time.Now().After(until) {
			t.Fatalf("an engine with a certificate of a public CA: %v\n%s\n%s", err, out, p.said())
		}
	}
	select {
	case <-spoken:
		t.Error("an engine with a certificate of a public CA was spoken to")
	default:
	}
	p.stop()
}

// Engines ask for a certificate of the CA as skep does.
func TestTLSVerify_betweenAllThree(t *testing.T) {
	ca, addr := newAuthority(t, "CA"), freePort(t)
	own := ca.identity(t, "engine").client()
	engine := engineTLS(t, &tls.Config{Certificates: own.Certificates, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: own.RootCAs})
	p := manage(t, append(ca.identity(t, "manager").flags(), "-H", addr, "nodes://"+engine)...)
	docker := ca.identity(t, "client").docker(addr)
	docker.awaitEngine()
	docker.prints("", "run", "-d", "--name", "web", "--network", "none", "busybox")
	docker.prints("web", "ps", "--filter", "name=web")
	p.stop()
}

func TestTLS_withoutVerifyEncryptsAndAsksNobody(t *testing.T) {
	files, addr := newAuthority(t, "CA").identity(t, "manager"), freePort(t)
	stranger := newAuthority(t, "another CA").identity(t, "engine")
	engine := engineTLS(t, &tls.Config{Certificates: stranger.client().Certificates})
	p := manage(t, "--tls", "--tlscert", files.file("cert.pem"), "--tlskey", files.file("key.pem"), "-H", addr, "nodes://"+engine)
	dockerCLI(t, "tcp://"+addr).fails("HTTP request to an HTTPS server", "version")
	anyone := dockerCLI(t, "tcp://"+addr)
	await(t, "the engine is there", func() bool {
		out, err := anyone.run("--tls", "--tlscacert=", "ps")
		return err == nil && strings.Contains(out, "sim-c1")
	})
	p.stop()
}

func TestDoors_thatStandOpenAreWarnedOfAtEveryStart(t *testing.T) {
	files := newAuthority(t, "CA").identity(t, "manager")
	for _, tc := range []struct {
		name string
		args []string
		want string // "" for no warning
	}{
		{"plaintext for all", []string{"--insecure", "-H", "0.0.0.0:0"}, "takes anyone's commands, and sends them in the clear: --insecure was given"},
		{"TLS for anyone", []string{"--tls", "--tlscert", files.file("cert.pem"), "--tlskey", files.file("key.pem"), "-H", "0.0.0.0:0"}, "TLS without --tlsverify asks nobody who he is"},
		{"TLS for those of the CA", append(files.flags(), "-H", "0.0.0.0:0"), ""},
		{"loopback", []string{"--insecure", "-H", "127.0.0.1:0"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state := t.TempDir()
			for range 2 {
				p := manage(t, append([]string{"--state-dir", state}, append(tc.args, "nodes://127.0.0.1:1")...)...)
				p.stop()
				warned := strings.Contains(p.said(), "level=WARN")
				if warned != (tc.want != "") || !strings.Contains(p.said(), tc.want) {
					t.Errorf("want a warning with %q:\n%s", tc.want, p.said())
				}
			}
		})
	}
	t.Run("plaintext for all without --insecure", func(t *testing.T) {
		p := start(t, os.Getenv(skepBin), "manage", "-H", "0.0.0.0:0", "nodes://127.0.0.1:1")
		if err := <-p.done; err == nil || !strings.Contains(p.said(), "refusing to listen on 0.0.0.0:0 without TLS") {
			t.Errorf("%v\n%s", err, p.said())
		}
	})
}
