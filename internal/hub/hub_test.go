package hub_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
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

func TestHub_limitsWhatOneClientMaySend(t *testing.T) {
	url, stop := run(t, hub.Config{Listen: []string{"127.0.0.1:0"}, Data: filepath.Join(t.TempDir(), "hub.db"), Rate: 2, Limits: hub.Limits{Clusters: 1, PerCluster: 1, Addresses: 1}})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	send := func(method, path, body string, header ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequest(method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		// The hub does not wait for all of what it refuses to read, so that the
		// end of its sentence may be lost.
		text, _ := io.ReadAll(resp.Body)
		return resp, string(text)
	}
	_, token := send("POST", "/v1/clusters", "")
	at := "/v1/clusters/" + token
	for _, tc := range []struct {
		name, method, path, body, cookie string
		status                           int
		want                             string
	}{
		{"a second token", "POST", "/v1/clusters", "", "", 507, "raise --max-clusters"},
		{"a body that is too large", "POST", at, strings.Repeat("x", 2000), "", 413, "larger than 1024 bytes"},
		{"headers that are too large", "GET", at, "", strings.Repeat("x", 64<<10), 431, ""},
		{"an address", "POST", at, "a:1", "", 200, ""},
		{"a second address", "POST", at, "b:1", "", 507, "the token has 1 addresses already"},
	} {
		if resp, text := send(tc.method, tc.path, tc.body, "Cookie", tc.cookie); resp.StatusCode != tc.status || !strings.Contains(text, tc.want) {
			t.Errorf("%s: %s %q, want %d %q", tc.name, resp.Status, text, tc.status, tc.want)
		}
	}
	var last *http.Response
	for range 20 { // 9 are allowed at once
		if last, _ = send("GET", at, ""); last.StatusCode != 200 {
			break
		}
	}
	if last.StatusCode != 429 || last.Header.Get("Retry-After") != "1" {
		t.Errorf("a client in a hurry: %s, Retry-After %q", last.Status, last.Header.Get("Retry-After"))
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
