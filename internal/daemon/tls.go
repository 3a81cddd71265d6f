package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"

	"github.com/skep/skep/internal/engine"
)

// TLSFiles are the certificate flags. They serve both sides: clients that
// connect to skep and engines that skep connects to.
type TLSFiles struct {
	Enable, Verify bool // --tls, --tlsverify
	CA, Cert, Key  string
}

// Check tells which flags do not go together.
func (t TLSFiles) Check() error {
	switch {
	case !t.Enable && !t.Verify && (t.CA != "" || t.Cert != "" || t.Key != ""):
		return errors.New("--tlscert, --tlskey and --tlscacert require the use of either --tls or --tlsverify")
	case !t.Enable && !t.Verify:
		return nil
	case t.Cert == "" || t.Key == "":
		return errors.New("--tlscert and --tlskey must be provided when using --tls")
	case t.Verify && t.CA == "":
		return errors.New("--tlscacert must be provided when using --tlsverify")
	}
	return nil
}

// Credentials are the certificates in use. They can be read again while skep
// serves: connections that are open keep what they began with.
type Credentials struct {
	files TLSFiles
	now   atomic.Pointer[tlsPair]
}

// tlsPair is the TLS of both sides, made of one reading of the files.
type tlsPair struct{ server, client *tls.Config }

// LoadCredentials reads the files; nil without TLS.
func LoadCredentials(files TLSFiles) (*Credentials, error) {
	if !files.Enable && !files.Verify {
		return nil, nil
	}
	c := &Credentials{files: files}
	return c, c.Reload()
}

// Reload reads the files again. When one of them is no good, all stays as it was.
func (c *Credentials) Reload() error {
	pair, err := c.files.load()
	if err != nil {
		return err
	}
	c.now.Store(pair)
	return nil
}

// load gives the TLS of the front door and of connections to engines. With
// --tlsverify, only certificates of the given CA are taken, on both sides.
func (t TLSFiles) load() (*tlsPair, error) {
	cert, err := readPEM("--tlscert", t.Cert)
	if err != nil {
		return nil, err
	}
	key, err := readPEM("--tlskey", t.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load --tlscert %s and --tlskey %s: %w", t.Cert, t.Key, err)
	}
	both := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		// HTTP/2 has no connections to hijack.
		NextProtos: []string{"http/1.1"},
		// A session that is taken up again would pass by a CA that is no longer
		// the one of --tlscacert.
		SessionTicketsDisabled: true,
	}
	server, client := both.Clone(), both.Clone()
	if !t.Verify {
		// --tls alone encrypts and does not ask who the engine is.
		client.InsecureSkipVerify = true
		return &tlsPair{server, client}, nil
	}
	ca, err := readPEM("--tlscacert", t.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("--tlscacert %s holds no certificate in PEM form", t.CA)
	}
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, pool
	client.RootCAs = pool
	return &tlsPair{server, client}, nil
}

// maxPEM bounds what is read of a certificate's file.
const maxPEM = 4 << 20

func readPEM(flag, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", flag, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", flag, err)
	case len(text) > maxPEM:
		return nil, fmt.Errorf("read %s: %s is larger than %d bytes", flag, path, maxPEM)
	}
	return text, nil
}

// Server is the TLS of listeners: each new connection gets what is in use then.
// It is nil without TLS.
func (c *Credentials) Server() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:             tls.VersionTLS12,
		NextProtos:             []string{"http/1.1"},
		SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.now.Load().server, nil
		},
	}
}

// Client is the TLS of a new connection to an engine or a peer. It is nil
// without TLS, and must not be changed.
func (c *Credentials) Client() *tls.Config {
	if c == nil {
		return nil
	}
	return c.now.Load().client
}

// Dial opens a connection to an engine with the certificates in use at that
// moment; without TLS, and to unix sockets, a plain one.
func (c *Credentials) Dial(ctx context.Context, network, target string) (net.Conn, error) {
	conn, err := engine.NetworkDial()(ctx, network, target)
	if err != nil || c == nil || network == "unix" {
		return conn, err
	}
	return engine.Secure(ctx, conn, target, c.Client())
}
