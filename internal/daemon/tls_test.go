package daemon

import (
	"crypto/tls"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skep/skep/internal/certtest"
	"github.com/skep/skep/internal/dockerapi"
)

func TestTLSFiles_Check(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files TLSFiles
		want  string
	}{
		{"nothing is plaintext", TLSFiles{}, ""},
		{"files without a switch", TLSFiles{Cert: "c", Key: "k"}, "--tlscert, --tlskey and --tlscacert require the use of either --tls or --tlsverify"},
		{"--tls without a key", TLSFiles{Enable: true, Cert: "c"}, "--tlscert and --tlskey must be provided when using --tls"},
		{"--tlsverify without a CA", TLSFiles{Verify: true, Cert: "c", Key: "k"}, "--tlscacert must be provided when using --tlsverify"},
		{"--tls is complete", TLSFiles{Enable: true, Cert: "c", Key: "k"}, ""},
		{"--tlsverify is complete", TLSFiles{Verify: true, Cert: "c", Key: "k", CA: "a"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if err := tc.files.Check(); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// authority makes certificates for one test.
type authority struct{ *certtest.Authority }

func newAuthority(t *testing.T) authority {
	t.Helper()
	return authority{certtest.NewAuthority(t, "ca")}
}

// files are the flags of somebody with a certificate of this authority.
func (a authority) files(name string) TLSFiles {
	dir := a.Files(name)
	return TLSFiles{Verify: true, CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

func clientOf(files TLSFiles) (*tls.Config, error) {
	c, err := LoadCredentials(files)
	if err != nil {
		return nil, err
	}
	return c.Client().Clone(), nil
}

func TestTLSVerify_takesOnlyCertificatesOfItsOwnCA(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	server, err := LoadCredentials(ours.files("server"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := dockerapi.Listen("tcp://127.0.0.1:0", dockerapi.ListenOptions{TLS: server.Server()})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })

	friend, err := clientOf(ours.files("friend"))
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := clientOf(theirs.files("stranger"))
	if err != nil {
		t.Fatal(err)
	}
	stranger.RootCAs = friend.RootCAs // he trusts us, we do not trust him
	nobody := &tls.Config{RootCAs: friend.RootCAs}
	outdated := friend.Clone()
	outdated.MinVersion, outdated.MaxVersion = tls.VersionTLS11, tls.VersionTLS11

	for _, tc := range []struct {
		name string
		cfg  *tls.Config
		want string // part of the error; "" for success
	}{
		{"a client of our CA comes in", friend, ""},
		{"a client of another CA does not", stranger, "certificate"},
		{"a client without a certificate does not", nobody, "certificate"},
		{"TLS 1.1 is refused", outdated, "protocol version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: tc.cfg, DisableKeepAlives: true}}
			resp, err := client.Get("https://" + l.Addr().String() + "/_ping")
			switch {
			case err == nil:
				resp.Body.Close()
				if tc.want != "" {
					t.Error("came in")
				}
			case tc.want == "" || !strings.Contains(err.Error(), tc.want):
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}

	t.Run("an engine of another CA is not spoken to", func(t *testing.T) {
		toEngine, err := clientOf(theirs.files("manager"))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", l.Addr().String(), toEngine)
		if err == nil {
			conn.Close()
			t.Fatal("connected")
		}
	})
}
