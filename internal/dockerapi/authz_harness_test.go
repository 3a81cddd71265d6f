package dockerapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skep/skep/internal/dockerapi"
)

// asked is what a plugin was told.
type asked struct {
	Call                    string `json:"-"`
	User                    string
	UserAuthNMethod         string
	RequestMethod           string
	RequestURI              string `json:"RequestUri"`
	RequestBody             []byte
	RequestHeaders          map[string]string
	RequestPeerCertificates [][]byte
	ResponseStatusCode      int
	ResponseBody            []byte
	ResponseHeaders         map[string]string
}

// plugin is an authorization plugin made in a test.
type plugin struct {
	dirs   dockerapi.PluginDirs
	name   string
	decide func(asked) string // the answer's JSON, after "500 " for that status

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
	if said, broken := strings.CutPrefix(answer, "500 "); broken {
		w.WriteHeader(500)
		answer = said
	}
	fmt.Fprint(w, answer)
}

func (p *plugin) told() []asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]asked(nil), p.calls...)
}

// asking are options with plugins that are asked.
func asking(t *testing.T, plugins ...*plugin) dockerapi.Options {
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
	return o
}

// guarded serves routes behind plugins.
func guarded(t *testing.T, plugins []*plugin, all ...dockerapi.Route) *frontDoor {
	t.Helper()
	return openHandler(t, dockerapi.NewHandler(asking(t, plugins...), routes(all)))
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
