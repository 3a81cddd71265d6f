package hub_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skep/skep/internal/certtest"
	"github.com/skep/skep/internal/hub"
)

// certificate writes a certificate for 127.0.0.1, of a CA of its own.
func certificate(t *testing.T, dir string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	ca := certtest.NewAuthority(t, "ca")
	made := ca.Files("hub")
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for _, file := range []string{cert, key} {
		if err := os.Rename(filepath.Join(made, filepath.Base(file)), file); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM)
	return cert, key, pool
}

func TestHub_speaksTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, pool := certificate(t, dir)
	url, stop := run(t, hub.Config{Listen: []string{"127.0.0.1:0"}, Data: filepath.Join(dir, "hub.db"), TLSCert: cert, TLSKey: key})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	post(t, &http.Client{Transport: transport, Timeout: 10 * time.Second}, url+"/v1/clusters", "")
	_, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestHub_readsItsCertificateAgainWhenItIsAsked(t *testing.T) {
	dir := t.TempDir()
	cert, key, former := certificate(t, dir)
	asked := make(chan os.Signal)
	var log bytes.Buffer
	url, stop := run(t, hub.Config{
		Listen: []string{"127.0.0.1:0"}, Data: filepath.Join(dir, "hub.db"), TLSCert: cert, TLSKey: key, Reload: asked,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	// reload returns when the files have been read: the second request is taken
	// after the first was dealt with.
	reload := func() {
		asked <- syscall.SIGHUP
		asked <- syscall.SIGHUP
	}
	dial := func(pool *x509.CertPool) (*tls.Conn, error) {
		return tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}})
	}
	ping := func(conn *tls.Conn) error {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	open, err := dial(former)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := ping(open); err != nil {
		t.Fatal(err)
	}

	_, _, next := certificate(t, dir)
	reload()
	conn, err := dial(next)
	if err != nil {
		t.Fatalf("the new certificate: %v", err)
	}
	conn.Close()
	if conn, err := dial(former); err == nil {
		conn.Close()
		t.Error("the former certificate is still shown")
	}
	if err := ping(open); err != nil {
		t.Errorf("the connection that was open: %v", err)
	}

	// Half a renewal changes nothing.
	if err := os.WriteFile(key, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload()
	if conn, err = dial(next); err != nil {
		t.Errorf("after a reload of a broken key: %v", err)
	} else {
		conn.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "the one before stays in use") {
		t.Errorf("nobody is told: %s", log.String())
	}
}
