package hub_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/hub"
)

// run runs a hub until the test ends, or until stop is called, which gives
// what Run returned.
func run(t *testing.T, cfg hub.Config) (url string, stop func() error) {
	t.Helper()
	h, err := hub.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var result error
	go func() {
		defer close(done)
		result = h.Run(ctx)
	}()
	stop = func() error {
		cancel()
		<-done
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return h.URLs()[0], stop
}

// certificate writes a certificate for 127.0.0.1, which is its own CA.
func certificate(t *testing.T, dir string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AddCert(mustParse(t, der))
	return cert, key, pool
}

func mustParse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func post(t *testing.T, client *http.Client, url, body string) string {
	t.Helper()
	resp, err := client.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s %v", resp.Status, answer, err)
	}
	return string(answer)
}

func TestHub_keepsItsClustersOverARestart(t *testing.T) {
	cfg := hub.Config{Listen: []string{"127.0.0.1:0"}, Data: filepath.Join(t.TempDir(), "hub.db")}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	url, stop := run(t, cfg)
	token := post(t, client, url+"/v1/clusters", "")
	post(t, client, url+"/v1/clusters/"+token+"?ttl=600", "a:1")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	url, stop = run(t, cfg)
	resp, err := client.Get(url + "/v1/clusters/" + token)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != `["a:1"]` {
		t.Errorf("after a restart: %s %v", body, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
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

func TestNew_refuses(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "hub.db")
	for _, tc := range []struct {
		name string
		cfg  hub.Config
		want string
	}{
		{"plaintext for all", hub.Config{Listen: []string{"0.0.0.0:0"}, Data: data}, "refusing to listen on 0.0.0.0:0 without TLS"},
		{"plaintext without a host", hub.Config{Listen: []string{":0"}, Data: data}, "refusing to listen on :0 without TLS"},
		{"a certificate without a key", hub.Config{Listen: []string{"127.0.0.1:0"}, Data: data, TLSCert: "c"}, "--tlscert and --tlskey go together"},
		{"a certificate that is missing", hub.Config{Listen: []string{"127.0.0.1:0"}, Data: data, TLSCert: dir + "/c", TLSKey: dir + "/k"}, "load --tlscert and --tlskey: "},
		{"no port", hub.Config{Listen: []string{"127.0.0.1"}, Data: data}, `--listen "127.0.0.1": write host:port`},
		{"no address", hub.Config{Data: data}, "give one with --listen"},
		{"no file", hub.Config{Listen: []string{"127.0.0.1:0"}}, "give it with --data"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := hub.New(tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestNew_warnsOfPlaintextForAll(t *testing.T) {
	var log bytes.Buffer
	_, stop := run(t, hub.Config{
		Listen: []string{"0.0.0.0:0"}, Data: filepath.Join(t.TempDir(), "hub.db"), Insecure: true,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "without TLS") {
		t.Errorf("logged %s", log.String())
	}
}
