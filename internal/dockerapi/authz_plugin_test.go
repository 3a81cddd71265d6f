package dockerapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skep/skep/internal/dockerapi"
)

func TestAuthZ_aPluginThatIsGoneHasAllowedNothing(t *testing.T) {
	p := newPluginServer(t, "p", allowAll)
	o := asking(t, p)
	if err := os.Remove(filepath.Join(p.dirs.Sockets[0], "p.sock")); err != nil {
		t.Fatal(err)
	}
	o.Authorizer.Close() // the connection that was open
	w := httptest.NewRecorder()
	dockerapi.NewHandler(o, routes{route("GET", "/x", echoBody)}).ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
	if w.Code != 500 || !strings.Contains(w.Body.String(), "plugin p failed with error") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestFindPlugin_looksWhereDockerLooks(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"Implements":["authz"]}`)
	}))
	defer server.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"Implements":["VolumeDriver"]}`)
	}))
	defer other.Close()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tcp := "tcp://" + server.Listener.Addr().String()
	write("plain.spec", tcp+"\n")
	write("own/own.spec", tcp)
	write("object.json", `{"Name":"object","Addr":"`+tcp+`"}`)
	write("volumes.spec", "tcp://"+other.Listener.Addr().String())
	write("broken.json", `{`)
	write("strange.spec", "gopher://x")
	write("nocerts.json", `{"Addr":"`+tcp+`","TLSConfig":{"CAFile":"/nowhere"}}`)
	write("huge.spec", strings.Repeat("x", 2<<20))
	dirs := dockerapi.PluginDirs{Sockets: []string{dir}, Specs: []string{dir}}
	for name, want := range map[string]string{
		"plain": "", "own": "", "object": "",
		"volumes": "it does not decide about authorization", "broken": "its .json file", "strange": "write it as unix:///path or tcp://host:port",
		"nocerts": "read CAFile", "huge": "it is larger than", "missing": "start the plugin first", "../plain": "no slashes", "": "no slashes", "..": "no slashes",
	} {
		p, err := dockerapi.FindPlugin(context.Background(), name, dirs)
		if err == nil {
			p.Close()
		}
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// A plugin on another machine names its certificates in its .json file.
func TestFindPlugin_overTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"Implements":["authz"],"Allow":%t}`, len(r.TLS.PeerCertificates) == 1)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := write("cert.pem", "CERTIFICATE", server.Certificate().Raw), write("key.pem", "PRIVATE KEY", key)
	spec := func(name, tlsConfig string) {
		t.Helper()
		text := fmt.Sprintf(`{"Addr":"tcp://%s","TLSConfig":%s}`, server.Listener.Addr(), tlsConfig)
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	both := fmt.Sprintf(`"CertFile":%q,"KeyFile":%q`, certFile, keyFile)
	spec("known", fmt.Sprintf(`{"CAFile":%q,%s}`, certFile, both))
	spec("unasked", fmt.Sprintf(`{"InsecureSkipVerify":true,%s}`, both))
	spec("stranger", fmt.Sprintf(`{%s}`, both))
	spec("nobody", fmt.Sprintf(`{"CAFile":%q}`, certFile))
	dirs := dockerapi.PluginDirs{Specs: []string{dir}}
	for name, want := range map[string]string{
		"known": "", "unasked": "",
		"stranger": "certificate", // that of the plugin is of no CA that the system knows
		"nobody":   "certificate", // the plugin asks for one of skep
	} {
		found, err := dockerapi.FindPlugin(context.Background(), name, dirs)
		if err != nil {
			if want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
			continue
		}
		if want != "" {
			t.Errorf("%s: it is spoken to", name)
		}
		o := options()
		o.Authorizer = dockerapi.NewAuthorizer(slog.New(slog.DiscardHandler), found)
		w := httptest.NewRecorder()
		dockerapi.NewHandler(o, routes{route("GET", "/x", echoBody)}).ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
		if w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		found.Close()
	}
}

// Whatever a file says, questions go to a host that it names or to a socket.
func FuzzFindPlugin_jsonFiles(f *testing.F) {
	for _, seed := range []string{`{"Addr":"tcp://127.0.0.1:1"}`, `{"Addr":"unix:///run/p.sock"}`, `{"Addr":"https://h:1/x","TLSConfig":{"InsecureSkipVerify":true}}`, `{"Addr":"tcp://"}`, `{`, `[]`, `{"Addr":"tcp://h:1","TLSConfig":{"CAFile":"/dev/null"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, spec []byte) {
		base, err := dockerapi.PluginURL(spec)
		if err != nil {
			return
		}
		u, err := url.Parse(base)
		if err != nil || u.Host == "" || u.Path != "/" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q leads to %q, %v", spec, base, err)
		}
	})
}
