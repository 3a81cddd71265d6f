//go:build linux

package service_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/skep/skep/internal/certtest"
)

// authority is a CA of one test.
type authority struct{ *certtest.Authority }

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	return authority{certtest.NewAuthority(t, name)}
}

// identity is somebody with a certificate, in a directory as DOCKER_CERT_PATH
// has it.
type identity struct {
	t   *testing.T
	dir string
}

func (a authority) identity(t *testing.T, name string) identity {
	t.Helper()
	return identity{t, a.Files(name)}
}

// trust makes a the one authority whose certificates this one takes.
func (id identity) trust(a authority) { id.write("ca.pem", a.PEM) }

func (id identity) write(file string, text []byte) {
	id.t.Helper()
	if err := os.WriteFile(id.file(file), text, 0o600); err != nil {
		id.t.Fatal(err)
	}
}

func (id identity) file(name string) string { return filepath.Join(id.dir, name) }

// become takes over the files of another one, as a renewal does.
func (id identity) become(other identity) {
	id.t.Helper()
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		text, err := os.ReadFile(other.file(name))
		if err != nil {
			id.t.Fatal(err)
		}
		id.write(name, text)
	}
}

// flags are those of a manager.
func (id identity) flags() []string {
	return []string{"--tlsverify", "--tlscacert", id.file("ca.pem"), "--tlscert", id.file("cert.pem"), "--tlskey", id.file("key.pem")}
}

// docker is the stock CLI in this one's hands.
func (id identity) docker(addr string) cli {
	id.t.Helper()
	return dockerCLI(id.t, "tcp://"+addr, "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH="+id.dir)
}

// client is this one's side of a connection.
func (id identity) client() *tls.Config {
	id.t.Helper()
	pair, err := tls.LoadX509KeyPair(id.file("cert.pem"), id.file("key.pem"))
	if err != nil {
		id.t.Fatal(err)
	}
	ca, err := os.ReadFile(id.file("ca.pem"))
	if err != nil {
		id.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS10}
}
