//go:build linux

package service_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a CA of one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.issue(name)
	return a
}

// issue makes a certificate that serves on both sides; the first one is the
// authority's own.
func (a *authority) issue(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// identity is a directory as DOCKER_CERT_PATH has it: ca.pem, cert.pem and
// key.pem.
type identity struct {
	t   *testing.T
	dir string
}

// identity makes somebody with a certificate of this authority, who trusts it.
func (a *authority) identity(name string) identity {
	a.t.Helper()
	id := identity{a.t, a.t.TempDir()}
	cert, key := a.issue(name)
	id.trust(a)
	id.write("cert.pem", "CERTIFICATE", cert.Raw)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	id.write("key.pem", "PRIVATE KEY", der)
	return id
}

// trust makes a the one authority whose certificates this one takes.
func (id identity) trust(a *authority) { id.write("ca.pem", "CERTIFICATE", a.cert.Raw) }

func (id identity) write(file, kind string, der []byte) {
	id.t.Helper()
	if err := os.WriteFile(id.file(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		id.t.Fatal(err)
	}
}

func (id identity) file(name string) string { return filepath.Join(id.dir, name) }

// become takes over the files of another one, as a renewal does.
func (id identity) become(other identity) {
	id.t.Helper()
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		text, err := os.ReadFile(other.file(name))
		if err == nil {
			err = os.WriteFile(id.file(name), text, 0o600)
		}
		if err != nil {
			id.t.Fatal(err)
		}
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
