package dockerapi_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/skep/skep/internal/dockerapi"
)

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

func TestAuthZ_pathsThatNoRouteTakesAreAskedAboutToo(t *testing.T) {
	p := newPluginServer(t, "p", func(asked) string { return deny("no") })
	d := guarded(t, []*plugin{p})
	for _, path := range []string{"/nowhere", "/v0.1/info", "/_ping"} {
		if resp, _ := d.get("GET", path); resp.StatusCode != 403 {
			t.Errorf("%s: %s", path, resp.Status)
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
