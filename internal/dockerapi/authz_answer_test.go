package dockerapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/dockerapi"
)

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

// Who flushes an answer that is whole may have more to do; the client has it all.
func TestAuthZ_aWholeAnswerLeavesWhenItIsFlushed(t *testing.T) {
	p := newPluginServer(t, "p", allowAll)
	read := make(chan struct{})
	d := guarded(t, []*plugin{p}, route("POST", "/images/load", func(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
		dockerapi.WriteError(w, r, errdefs.ErrConflict)
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
		<-read
		return nil
	}))
	resp := d.do(post("/images/load", "", ""))
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	close(read)
	if err != nil || resp.StatusCode != http.StatusConflict || string(body) != `{"message":"conflict"}`+"\n" {
		t.Errorf("%d %s, %v", resp.StatusCode, body, err)
	}
	if told := p.told(); len(told) != 2 || string(told[1].ResponseBody) != string(body) {
		t.Errorf("the plugin was told %v", told)
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
