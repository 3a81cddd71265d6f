package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
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

// configs gives the TLS of the front door and of connections to engines; both
// nil without TLS. With --tlsverify, only certificates of the given CA are
// taken, on both sides.
func (t TLSFiles) configs() (server, client *tls.Config, err error) {
	if !t.Enable && !t.Verify {
		return nil, nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("load --tlscert and --tlskey: %w", err)
	}
	common := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		// HTTP/2 has no connections to hijack.
		NextProtos: []string{"http/1.1"},
	}
	server, client = common.Clone(), common.Clone()
	if !t.Verify {
		// --tls alone encrypts and does not ask who the engine is.
		client.InsecureSkipVerify = true
		return server, client, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("read --tlscacert: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, nil, fmt.Errorf("--tlscacert %s holds no certificate in PEM form", t.CA)
	}
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, pool
	client.RootCAs = pool
	return server, client, nil
}
