package hub_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/hub"
)

// ask sends one request to front and gives its answer.
func ask(front http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	front.ServeHTTP(w, r)
	return w
}

func TestFront_walksTheLifeOfACluster(t *testing.T) {
	front := openStore(t, hub.Limits{}).Front(1000)
	made := ask(front, "POST", "/v1/clusters", "")
	token := made.Body.String()
	if made.Code != 201 || len(token) != 32 || made.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Fatalf("%d %q", made.Code, token)
	}
	at := "/v1/clusters/" + token
	if w := ask(front, "GET", at, ""); w.Code != 200 || w.Body.String() != "[]" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("an empty cluster: %d %q", w.Code, w.Body)
	}
	for _, addr := range []string{"10.0.0.2:2375", "[::1]:2375", " node1:2375\n"} {
		if w := ask(front, "POST", at+"?ttl=180", addr); w.Code != 200 {
			t.Errorf("%s: %d %q", addr, w.Code, w.Body)
		}
	}
	const all = `["10.0.0.2:2375","[::1]:2375","node1:2375"]`
	w := ask(front, "GET", at, "")
	if w.Body.String() != all {
		t.Errorf("got %s", w.Body)
	}
	tag := w.Header().Get("ETag")
	if w := ask(front, "GET", at, "", "If-None-Match", `"x", `+tag); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("an unchanged list: %d %q", w.Code, w.Body)
	}
	if w := ask(front, "DELETE", at+"?addr="+url.QueryEscape("[::1]:2375"), ""); w.Code != 204 {
		t.Errorf("take back: %d %q", w.Code, w.Body)
	}
	if w := ask(front, "GET", at, "", "If-None-Match", tag); w.Code != 200 || w.Body.String() != `["10.0.0.2:2375","node1:2375"]` {
		t.Errorf("a changed list: %d %q", w.Code, w.Body)
	}
	if w := ask(front, "DELETE", at, ""); w.Code != 204 {
		t.Errorf("delete: %d %q", w.Code, w.Body)
	}
	if w := ask(front, "GET", at, ""); w.Code != 404 || !strings.Contains(w.Body.String(), "skep create") {
		t.Errorf("a deleted token: %d %q", w.Code, w.Body)
	}
}

func TestFront_refuses(t *testing.T) {
	front := openStore(t, hub.Limits{PerCluster: 1}).Front(1000)
	at := "/v1/clusters/" + ask(front, "POST", "/v1/clusters", "").Body.String()
	if w := ask(front, "POST", at, "first:1"); w.Code != 200 {
		t.Fatalf("%d %q", w.Code, w.Body)
	}
	for _, tc := range []struct {
		name, method, target, body string
		code                       int
		want                       string
	}{
		{"an unknown token", "POST", "/v1/clusters/" + strings.Repeat("0", 32), "a:1", 404, "no such token"},
		{"what is no token", "GET", "/v1/clusters/x", "", 404, "a token is 32 digits"},
		{"another path", "GET", "/v2/clusters", "", 404, "use /v1/clusters"},
		{"a list of all tokens", "GET", "/v1/clusters", "", 405, "use POST"},
		{"another method", "PUT", at, "a:1", 405, "use GET, HEAD, POST, DELETE"},
		{"no address", "POST", at, "", 400, "the address is missing"},
		{"no port", "POST", at, "a", 400, "missing port"},
		{"a port of zero", "POST", at, "a:0", 400, "from 1 to 65535"},
		{"a socket", "POST", at, "unix:///run/docker.sock", 400, "is not host:port"},
		{"a range", "POST", at, "h[1:9]:1", 400, "is not host:port"},
		{"a range of one", "POST", at, "h[1:1]:1", 400, "is not host:port"},
		{"a range inside IPv6", "POST", at, "[fd00::[1:9]]:1", 400, "is not host:port"},
		{"a list", "POST", at, "a:1,b:1", 400, "is not host:port"},
		{"a scheme", "POST", at, "tcp://a:1", 400, "is not host:port"},
		{"markup", "POST", at, "<script>:1", 400, "is not the name or IP address of a host"},
		{"a long name", "POST", at, strings.Repeat("h", 300) + ":1", 400, "longer than 259 bytes"},
		{"a long body", "POST", at, strings.Repeat("h", 1025), 413, "larger than 1024 bytes"},
		{"a ttl of nothing", "POST", at + "?ttl=0", "a:1", 400, "ttl must be a whole number of seconds"},
		{"a ttl for ever", "POST", at + "?ttl=99999999999999999999", "a:1", 400, "ttl must be"},
		{"a ttl with a unit", "POST", at + "?ttl=3m", "a:1", 400, "ttl must be"},
		{"one address too many", "POST", at, "b:1", 507, "the token has 1 addresses already"},
		{"a misspelt address to delete", "DELETE", at + "?adr=first:1", "", 400, "unknown query"},
		{"a bad address to delete", "DELETE", at + "?addr=", "", 400, "the address is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := ask(front, tc.method, tc.target, tc.body)
			if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.want) {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tc.code, tc.want)
			}
		})
	}
	if w := ask(front, "GET", at, ""); w.Body.String() != `["first:1"]` {
		t.Errorf("after all that: %s", w.Body)
	}
}

func TestFront_slowsAHastyClientDown(t *testing.T) {
	front := openStore(t, hub.Limits{}).Front(1)
	var last *httptest.ResponseRecorder
	for range 50 {
		if last = ask(front, "GET", "/healthz", ""); last.Code != 200 {
			break
		}
	}
	if last.Code != 429 || last.Header().Get("Retry-After") == "" || !strings.Contains(last.Body.String(), "try again in") {
		t.Errorf("%d %q %v", last.Code, last.Body, last.Header())
	}
}

func TestFront_makesTokensAtASlowerPace(t *testing.T) {
	front := openStore(t, hub.Limits{}).Front(1000)
	made := 0
	for range 100 {
		if ask(front, "POST", "/v1/clusters", "").Code == 201 {
			made++
		}
	}
	if made < 20 || made > 25 {
		t.Errorf("%d tokens at once", made)
	}
}

func TestPace_isOneForEachClient(t *testing.T) {
	p := hub.NewPace(2, 3)
	drain := func(remote string) (n int) {
		for ; n < 10; n++ {
			if ok, after := p.Allow(remote, start); !ok {
				if after != 1 {
					t.Errorf("%s is told to come again after %d s", remote, after)
				}
				return n
			}
		}
		return n
	}
	for _, remote := range []string{"10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1"} {
		if n := drain(remote); n != 3 {
			t.Errorf("%s: %d at once", remote, n)
		}
	}
	for _, remote := range []string{"10.0.0.1:9", "[::ffff:10.0.0.2]:1", "[2001:db8::ffff]:1"} {
		if n := drain(remote); n != 0 {
			t.Errorf("%s is taken for another client: %d", remote, n)
		}
	}
	if ok, _ := p.Allow("10.0.0.1:1", start.Add(time.Second)); !ok {
		t.Error("a client that has waited is refused")
	}
}

func TestPace_remembersABoundedNumberOfClients(t *testing.T) {
	p := hub.NewPace(1, 1)
	for i := range hub.MaxClients + 500 {
		p.Allow(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), start)
	}
	if p.Len() != hub.MaxClients {
		t.Errorf("%d clients", p.Len())
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{"/v1/clusters", "/v1/clusters/", "/healthz", "/v1/clusters/0123456789abcdef0123456789abcdef", "/v1/clusters/../x", "//v1/clusters"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		kind, token := hub.ParsePath(path)
		if (kind == "cluster") != (token != "") {
			t.Fatalf("%q is %q with token %q", path, kind, token)
		}
		if token != "" && (path != "/v1/clusters/"+token || len(token) != 32 || strings.Trim(token, "0123456789abcdef") != "") {
			t.Fatalf("%q gives token %q", path, token)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"a:1", "[::1]:2375", "h[1:9]:1", "unix:///x", "tcp://a:1", "a:1,b:1", " a:1 ", "[fe80::1%eth0]:1", "[[1:2]:[3:4]]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		addr, err := hub.ParseAddress(text)
		if err != nil {
			if addr != "" {
				t.Fatalf("an error comes with %q", addr)
			}
			return
		}
		if strings.ContainsAny(addr, ", \t\n/<>\"'\x00") || len(addr) > 259 || addr != strings.TrimSpace(text) {
			t.Fatalf("%q is taken for the address %q", text, addr)
		}
		if again, err := hub.ParseAddress(addr); again != addr || err != nil {
			t.Fatalf("%q reads as %q, %v", addr, again, err)
		}
	})
}
