package dockerapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skep/skep/internal/dockerapi"
)

// asked is what a plugin was told.
type asked struct {
	Call               string `json:"-"`
	User               string
	UserAuthNMethod    string
	RequestMethod      string
	RequestURI         string `json:"RequestUri"`
	RequestBody        []byte
	RequestHeaders     map[string]string
	ResponseStatusCode int
	ResponseBody       []byte
	ResponseHeaders    map[string]string
}

// plugin is an authorization plugin made in a test.
type plugin struct {
	dirs   dockerapi.PluginDirs
	name   string
	decide func(asked) string // the answer's JSON; a status line for an error

	mu    sync.Mutex
	calls []asked // guarded by mu
}

const allow = `{"Allow":true}`

func deny(msg string) string { return fmt.Sprintf(`{"Allow":false,"Msg":%q}`, msg) }

// newPluginServer listens on a socket in a directory of plugins.
func newPluginServer(t *testing.T, name string, decide func(asked) string) *plugin {
	t.Helper()
	dir := t.TempDir()
	p := &plugin{dirs: dockerapi.PluginDirs{Sockets: []string{dir}}, name: name, decide: decide}
	l, err := net.Listen("unix", filepath.Join(dir, name+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: p}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return p
}

func (p *plugin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	call := strings.TrimPrefix(r.URL.Path, "/")
	if call == "Plugin.Activate" {
		fmt.Fprint(w, `{"Implements":["authz"]}`)
		return
	}
	a := asked{Call: strings.TrimPrefix(call, "AuthZPlugin.")}
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	p.mu.Lock()
	p.calls = append(p.calls, a)
	p.mu.Unlock()
	answer := p.decide(a)
	if answer == "broken" {
		http.Error(w, "no", 500)
		return
	}
	fmt.Fprint(w, answer)
}

func (p *plugin) told() []asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]asked(nil), p.calls...)
}

// guarded serves routes behind plugins.
func guarded(t *testing.T, plugins []*plugin, all ...dockerapi.Route) *frontDoor {
	t.Helper()
	var found []*dockerapi.Plugin
	for _, p := range plugins {
		one, err := dockerapi.FindPlugin(context.Background(), p.name, p.dirs)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, one)
	}
	o := options()
	o.Authorizer = dockerapi.NewAuthorizer(slog.New(slog.DiscardHandler), found...)
	t.Cleanup(o.Authorizer.Close)
	return openHandler(t, dockerapi.NewHandler(o, routes(all)))
}

func allowAll(asked) string { return allow }

func echoBody(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
	return nil
}

func post(path, kind, body string) *http.Request {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	return r
}

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
		{"a plugin breaks", func(asked) string { return "broken" }, nil, 500, "plugin p failed with error"},
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

func TestAuthZ_aPluginThatIsGoneHasAllowedNothing(t *testing.T) {
	p := newPluginServer(t, "p", allowAll)
	found, err := dockerapi.FindPlugin(context.Background(), "p", p.dirs)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	if err := os.Remove(filepath.Join(p.dirs.Sockets[0], "p.sock")); err != nil {
		t.Fatal(err)
	}
	found.Close() // the connection that was open
	o := options()
	o.Authorizer = dockerapi.NewAuthorizer(slog.New(slog.DiscardHandler), found)
	w := httptest.NewRecorder()
	dockerapi.NewHandler(o, routes{route("GET", "/x", echoBody)}).ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
	if w.Code != 500 || !strings.Contains(w.Body.String(), "plugin p failed with error") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// However a path is spelled, a plugin sees the spelling that routes act upon.
func TestAuthZ_noSpellingOfAPathGoesUnseen(t *testing.T) {
	p := newPluginServer(t, "p", func(a asked) string {
		if strings.HasPrefix(a.RequestURI, "/v1.41/containers/web/kill") || strings.HasPrefix(a.RequestURI, "/containers/web/kill") {
			return deny("spare it")
		}
		return allow
	})
	killed := false
	d := guarded(t, []*plugin{p}, route("POST", "/containers/{name:.*}/kill", func(_ http.ResponseWriter, r *http.Request, vars map[string]string) error {
		if vars["name"] == "web" {
			killed = true
		}
		return nil
	}))
	for _, path := range []string{
		"/containers/web/kill", "/v1.41/containers/web/kill", "//containers/web/kill", "/containers//web/kill", "/containers/web//kill",
		"/containers%2fweb%2Fkill", "/%63ontainers/web/kill", "/containers/%77eb/kill", "/v1.41//containers/%2fweb/kill", "///v1.41/containers/web/kill?x=1",
	} {
		conn := d.dial()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
		if got, _ := io.ReadAll(conn); !strings.HasPrefix(string(got), "HTTP/1.1 403 ") {
			t.Errorf("%s: %.20q", path, got)
		}
	}
	if killed {
		t.Error("it is dead")
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

func TestAuthZ_pathsThatNoRouteTakesAreAskedAboutToo(t *testing.T) {
	p := newPluginServer(t, "p", func(asked) string { return deny("no") })
	d := guarded(t, []*plugin{p})
	for _, path := range []string{"/nowhere", "/v0.1/info", "/_ping"} {
		if resp, _ := d.get("GET", path); resp.StatusCode != 403 {
			t.Errorf("%s: %s", path, resp.Status)
		}
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

func TestAuthZ_aStreamIsAskedAboutBeforeItsFirstByte(t *testing.T) {
	p := newPluginServer(t, "p", func(a asked) string {
		if a.Call == "AuthZRes" && (len(a.ResponseBody) > 0 || a.ResponseStatusCode != 200) {
			return deny("this is no head of a stream")
		}
		if a.Call == "AuthZRes" && strings.HasPrefix(a.RequestURI, "/secret") {
			return deny("not this stream")
		}
		return allow
	})
	goOn := make(chan struct{})
	stream := func(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(w, `{"n":1}`)
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
		if r.URL.Path == "/events" {
			<-goOn
		}
		fmt.Fprintln(w, `{"n":2}`)
		return nil
	}
	d := guarded(t, []*plugin{p}, route("GET", "/events", stream), route("GET", "/secret", stream))
	resp := d.do(httptest.NewRequest("GET", "/events", nil))
	first := make([]byte, 8)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "{\"n\":1}\n" {
		t.Fatalf("%q, %v", first, err)
	}
	close(goOn)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "{\"n\":2}\n" {
		t.Errorf("%q, %v", rest, err)
	}
	if resp, body := d.get("GET", "/secret"); resp.StatusCode != 403 || strings.Contains(body, `"n"`) {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestAuthZ_aLongAnswerIsWhole(t *testing.T) {
	p := newPluginServer(t, "p", allowAll)
	long := strings.Repeat("x", 3<<20)
	d := guarded(t, []*plugin{p}, route("GET", "/long", func(w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
		for part := long; part != ""; part = part[1<<18:] {
			_, _ = io.WriteString(w, part[:1<<18])
		}
		return nil
	}))
	if _, body := d.get("GET", "/long"); body != long {
		t.Errorf("%d bytes of %d", len(body), len(long))
	}
}

func TestAuthZ_aConnectionThatIsTakenOverWasAuthorizedBefore(t *testing.T) {
	p := newPluginServer(t, "p", func(a asked) string {
		if strings.Contains(a.RequestURI, "secret") {
			return deny("no")
		}
		return allow
	})
	e := newEngine(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nhello")
	})
	d := guarded(t, []*plugin{p}, route("POST", "/containers/{name:.*}/attach", upgrade(e)))
	ask := func(name string) string {
		conn := d.dial()
		fmt.Fprintf(conn, "POST /containers/%s/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", name)
		_ = conn.CloseWrite()
		all, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return string(all)
	}
	if got := ask("web"); !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "hello") {
		t.Errorf("%q", got)
	}
	if got := ask("secret"); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
		t.Errorf("%q", got)
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

// Whatever the spelling, what plugins are told leads to the same path again.
func FuzzAuthZ_pathsMeanTheSameToPluginsAndRoutes(f *testing.F) {
	for _, seed := range []string{"/containers/json", "//x", "/a/%2e%2e/b", "/%2f", "/a//b/", "/v1.41/x?y=%2f", "/%25%32%66", "/a;b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		r, err := http.NewRequest("GET", "http://x"+target, nil)
		if err != nil || !strings.HasPrefix(target, "/") {
			t.Skip()
		}
		routed, told := dockerapi.AuthorizedPath(r)
		if told == "" {
			return // refused
		}
		again, err := http.NewRequest("GET", "http://x"+told, nil)
		if err != nil {
			t.Fatalf("%q was told as %q: %v", target, told, err)
		}
		if again.URL.Path != routed {
			t.Errorf("%q: routes see %q, plugins %q", target, routed, again.URL.Path)
		}
		if strings.Contains(routed, "//") || strings.Contains(routed+"/", "/../") {
			t.Errorf("%q: routes see %q", target, routed)
		}
	})
}

func TestAuthZ_theUserIsWhoTheCertificateSays(t *testing.T) {
	p := newPluginServer(t, "p", allowAll)
	found, err := dockerapi.FindPlugin(context.Background(), "p", p.dirs)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	o := options()
	o.Authorizer = dockerapi.NewAuthorizer(slog.New(slog.DiscardHandler), found)
	h := dockerapi.NewHandler(o, routes{route("GET", "/x", echoBody)})
	r := httptest.NewRequest("GET", "/x", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: "ada"}}, {Subject: pkix.Name{CommonName: "her CA"}}}}
	h.ServeHTTP(httptest.NewRecorder(), r)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil))
	told := p.told()
	if len(told) != 4 || told[0].User != "ada" || told[0].UserAuthNMethod != "TLS" || told[1].User != "ada" || told[2].User != "" || told[2].UserAuthNMethod != "" {
		t.Errorf("%+v", told)
	}
}

func TestGuard_asksPluginsInFrontOfAnyHandler(t *testing.T) {
	p := newPluginServer(t, "p", func(a asked) string {
		if strings.HasPrefix(a.RequestURI, "/v1.41/secret") {
			return deny("no")
		}
		return allow
	})
	found, err := dockerapi.FindPlugin(context.Background(), "p", p.dirs)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	o := options()
	o.Authorizer = dockerapi.NewAuthorizer(slog.New(slog.DiscardHandler), found)
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
