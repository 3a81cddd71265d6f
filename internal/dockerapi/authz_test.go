package dockerapi_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/skep/skep/internal/dockerapi"
)

func TestAuthZ_pluginsSeeWhatIsForwarded(t *testing.T) {
	p := newPluginServer(t, "watch", allowAll)
	d := guarded(t, []*plugin{p}, route("POST", "/containers/create", echoBody))
	r := post("/v1.41/containers/create?name=web", "application/json; charset=utf-8", `{"Image":"x"}`)
	r.Header.Set("X-Registry-Auth", "secret")
	resp := d.do(r)
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || string(body) != `{"Image":"x"}` {
		t.Fatalf("%s %q", resp.Status, body)
	}
	told := p.told()
	if len(told) != 2 {
		t.Fatalf("asked %d times", len(told))
	}
	req, res := told[0], told[1]
	if req.Call != "AuthZReq" || req.RequestMethod != "POST" || req.RequestURI != "/v1.41/containers/create?name=web" || string(req.RequestBody) != `{"Image":"x"}` {
		t.Errorf("request: %+v", req)
	}
	if _, ok := req.RequestHeaders["X-Registry-Auth"]; ok {
		t.Error("the plugin was told a password")
	}
	if res.Call != "AuthZRes" || res.ResponseStatusCode != 200 || string(res.ResponseBody) != `{"Image":"x"}` || res.ResponseHeaders["Content-Type"] != "application/json" || res.RequestURI != req.RequestURI {
		t.Errorf("answer: %+v", res)
	}
}

func TestAuthZ_failsClosed(t *testing.T) {
	big := `"` + strings.Repeat("x", 1<<20) + `"`
	for _, tc := range []struct {
		name    string
		decide  func(asked) string
		request func() *http.Request
		status  int
		want    string
	}{
		{"a plugin says no", func(asked) string { return deny("not you") }, nil, 403, "authorization denied by plugin p: not you"},
		{"a plugin has an error", func(asked) string { return `{"Allow":true,"Err":"lost my mind"}` }, nil, 500, "plugin p failed with error: AuthZPlugin.AuthZReq: lost my mind"},
		{"a plugin breaks", func(asked) string { return "500 no" }, nil, 500, "plugin p failed with error: AuthZPlugin.AuthZReq: AuthZPlugin.AuthZReq answered 500 Internal Server Error\"}"},
		{"a plugin breaks and says why", func(asked) string { return `500 {"Allow":true,"Err":"no rules"}` }, nil, 500, "500 Internal Server Error: no rules"},
		{"a plugin talks nonsense", func(asked) string { return "yes" }, nil, 500, "plugin p failed with error"},
		{"a plugin says nothing", func(asked) string { return "{}" }, nil, 403, "authorization denied by plugin p: "},
		{"a plugin says too much", func(asked) string { return `{"Allow":true,"Msg":` + big + `}` }, nil, 500, "it is larger than"},
		{"a body is too long", allowAll, func() *http.Request { return post("/do", "application/json", big) }, 403, "larger than the 1048576 bytes"},
		{"a body of unknown length is too long", allowAll, func() *http.Request {
			r := post("/do", "application/json", big)
			r.ContentLength = -1
			return r
		}, 403, "larger than the 1048576 bytes"},
		{"a body is no JSON", allowAll, func() *http.Request { return post("/do", "text/plain", `{"a":1}`) }, 400, "unsupported Content-Type header (text/plain)"},
		{"a body does not say what it is", allowAll, func() *http.Request { return post("/do", "", `{"a":1}`) }, 400, "unsupported Content-Type"},
		{"a body says two things", allowAll, func() *http.Request {
			r := post("/do", "text/plain", `{"a":1}`)
			r.Header.Add("Content-Type", "application/json")
			return r
		}, 400, "one Content-Type header"},
		{"a path leads back up", allowAll, func() *http.Request { return post("/x/../do", "", "") }, 400, `the segment \"..\"`},
		{"a path leads back up in disguise", allowAll, func() *http.Request { return post("/x/%2e%2e/do", "", "") }, 400, `the segment \"..\"`},
		{"the answer is refused", func(a asked) string {
			if a.Call == "AuthZRes" {
				return deny("you may not know")
			}
			return allow
		}, nil, 403, "authorization denied by plugin p: you may not know"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPluginServer(t, "p", tc.decide)
			d := guarded(t, []*plugin{p}, route("POST", "/do", func(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
				w.Header().Set("X-Secret", "secret")
				return echoBody(w, r, nil)
			}))
			r := post("/do", "application/json", `"secret"`)
			if tc.request != nil {
				r = tc.request()
			}
			resp := d.do(r)
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tc.status || !strings.Contains(string(body), tc.want) {
				t.Errorf("%s %.300s, want %d %q", resp.Status, body, tc.status, tc.want)
			}
			if strings.Contains(string(body), "secret") || resp.Header.Get("X-Secret") != "" {
				t.Errorf("the answer came through: %s", body)
			}
			if resp.Header.Get("Api-Version") == "" || resp.Header.Get("Server") == "" {
				t.Error("a refusal lacks the headers that every answer has")
			}
		})
	}
}

func TestAuthZ_asksPluginsInTheirOrderUntilOneSaysNo(t *testing.T) {
	var order []string
	var mu sync.Mutex
	note := func(name, answer string) func(asked) string {
		return func(a asked) string {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name+" "+a.Call)
			return answer
		}
	}
	first, second, third := newPluginServer(t, "first", note("first", allow)), newPluginServer(t, "second", note("second", deny("no"))), newPluginServer(t, "third", note("third", allow))
	d := guarded(t, []*plugin{first, second, third}, route("GET", "/x", echoBody))
	if resp, body := d.get("GET", "/x"); resp.StatusCode != 403 || !strings.Contains(body, "authorization denied by plugin second: no") {
		t.Errorf("%s %s", resp.Status, body)
	}
	if got := strings.Join(order, ", "); got != "first AuthZReq, second AuthZReq" {
		t.Errorf("asked %s", got)
	}
}

func TestAuthZ_archivesAndPasswordsAreNotShown(t *testing.T) {
	p := newPluginServer(t, "p", allowAll)
	d := guarded(t, []*plugin{p}, route("POST", "/build", echoBody), route("POST", "/auth", echoBody))
	for _, r := range []*http.Request{post("/v1.41/build", "application/x-tar", "an archive"), post("/auth", "application/json", `{"password":"x"}`)} {
		if resp := d.do(r); resp.StatusCode != 200 {
			t.Errorf("%s: %s", r.URL.Path, resp.Status)
		}
	}
	for _, a := range p.told() {
		if len(a.RequestBody) > 0 {
			t.Errorf("%s showed %q", a.RequestURI, a.RequestBody)
		}
	}
}

func TestAuthZ_theUserIsWhoTheCertificateSays(t *testing.T) {
	p := newPluginServer(t, "p", allowAll)
	o := asking(t, p)
	h := dockerapi.NewHandler(o, routes{route("GET", "/x", echoBody)})
	r := httptest.NewRequest("GET", "/x", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Raw: []byte("ada's"), Subject: pkix.Name{CommonName: "ada"}}, {Subject: pkix.Name{CommonName: "her CA"}}}}
	h.ServeHTTP(httptest.NewRecorder(), r)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil))
	told := p.told()
	if len(told) != 4 || told[0].User != "ada" || told[0].UserAuthNMethod != "TLS" || told[1].User != "ada" || told[2].User != "" || told[2].UserAuthNMethod != "" {
		t.Errorf("%+v", told)
	}
	if block, _ := pem.Decode(told[0].RequestPeerCertificates[0]); block == nil || block.Type != "CERTIFICATE" || string(block.Bytes) != "ada's" {
		t.Errorf("her certificate: %q", told[0].RequestPeerCertificates)
	}
}

func TestGuard_asksPluginsInFrontOfAnyHandler(t *testing.T) {
	p := newPluginServer(t, "p", func(a asked) string {
		if strings.HasPrefix(a.RequestURI, "/v1.41/secret") {
			return deny("no")
		}
		return allow
	})
	o := asking(t, p)
	h := dockerapi.Guard(o, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) }))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/v1.41//info", nil))
	if w.Code != 200 || w.Body.String() != "/v1.41/info" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/v1.41/secret", nil))
	if w.Code != 403 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
