package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
)

// healthy runs an engine on a fake and waits until it is healthy.
func healthy(t testing.TB, f *fake, change ...func(*engine.Config)) (*engine.Engine, *recorder) {
	t.Helper()
	e, o := start(t, f, change...)
	o.until(t, "the engine is healthy", func() bool { return e.State() == engine.Healthy })
	return e, o
}

func TestVersion_isMovedIntoWhatTheEngineKnows(t *testing.T) {
	v := func(s string) apiversion.Version {
		parsed, err := apiversion.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, tc := range []struct {
		name, low, high, want string
		asked                 apiversion.Version
	}{
		{"none asked for", "1.24", "1.41", "1.41", apiversion.Version{}},
		{"none asked for, of an engine newer than skep", "1.24", "1.99", apiversion.Max.String(), apiversion.Version{}},
		{"known to both", "1.24", "1.41", "1.30", v("1.30")},
		{"a client newer than the engine", "1.24", "1.41", "1.41", v("1.51")},
		{"a client older than the engine", "1.40", "1.51", "1.40", v("1.30")},
		{"an engine whose oldest is newer than skep", "1.60", "1.70", "1.60", v("1.41")},
		{"an engine that does not tell its oldest", "", "1.41", "1.24", v("1.24")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			f.low, f.high = tc.low, tc.high
			got := make(chan string, 1)
			e, _ := healthy(t, f)
			f.set(func() { f.low, f.high = "1.0", "1.99" })
			f.on("GET /x", func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.Path })
			if err := e.Call(t.Context(), engine.Request{Method: "GET", Path: "/x", Version: tc.asked}, nil, nil); err != nil {
				t.Fatal(err)
			}
			if path := <-got; path != "/v"+tc.want+"/x" {
				t.Errorf("asked for %s", path)
			}
		})
	}
}

func TestDo_sendsAndAnswersAsItIs(t *testing.T) {
	f := newFake(t)
	e, _ := healthy(t, f)
	f.on("POST /build", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Later", "kept")
		w.WriteHeader(418)
		fmt.Fprintf(w, "%s %s %v %q %s", r.URL.Query().Get("t"), r.Header.Get("X-Registry-Auth"), r.TransferEncoding, body, r.Host)
	})
	for _, tc := range []struct {
		name   string
		length int64
		want   string
	}{
		{"of known length", 4, `a b/c secret [] "data" engine`},
		{"of unknown length", -1, `a b/c secret [chunked] "data" engine`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := http.Header{"X-Registry-Auth": {"secret"}}
			resp, err := e.Do(t.Context(), engine.Request{
				Method: "POST", Path: "/build", Query: url.Values{"t": {"a b/c"}}, Header: header,
				Body: io.MultiReader(strings.NewReader("da"), strings.NewReader("ta")), Length: tc.length,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 418 || resp.Header.Get("X-Later") != "kept" || string(body) != tc.want {
				t.Errorf("%d %s %v", resp.StatusCode, body, err)
			}
		})
	}
}

func TestDo_aPathIsData(t *testing.T) {
	f := newFake(t)
	e, _ := healthy(t, f)
	for _, path := range []string{"/containers/a b/json", "/containers/a?x=1#y/json", "/images/reg:5000/a@sha256:0/json", "/containers/%2e%2e/json"} {
		var got string
		f.on("GET "+path, func(_ http.ResponseWriter, r *http.Request) { got = r.URL.Path })
		if err := e.Call(t.Context(), engine.Request{Method: "GET", Path: path}, nil, nil); err != nil || got != "/v1.44"+path {
			t.Errorf("%q arrived as %q: %v", path, got, err)
		}
	}
	if err := e.Call(t.Context(), engine.Request{Method: "G T", Path: "/x"}, nil, nil); err == nil {
		t.Error("a method with a space is sent")
	}
}

func TestDo_theCallersCancellationStaysWhatItIs(t *testing.T) {
	f := newFake(t)
	e, _ := healthy(t, f)
	arrived, ended := make(chan struct{}), make(chan struct{})
	f.on("GET /slow", func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(ended)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	err := e.Call(ctx, engine.Request{Method: "GET", Path: "/slow"}, nil, nil)
	if !errors.Is(err, context.Canceled) || errdefs.IsUnavailable(err) {
		t.Errorf("error %v", err)
	}
	<-ended // the engine is told
	if s := e.Status(); s.State != engine.Healthy {
		t.Errorf("%+v", s)
	}
}

func TestCall_errors(t *testing.T) {
	f := newFake(t)
	e, _ := healthy(t, f)
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   string
		is     func(error) bool
	}{
		{"not found", 404, `{"message":"No such container: x"}`, "No such container: x", errdefs.IsNotFound},
		{"bad request", 400, `{"message":"bad"}`, "bad", errdefs.IsInvalidArgument},
		{"conflict", 409, `{"message":"Conflict <&>"}`, "Conflict <&>", errdefs.IsConflict},
		{"unauthorized", 401, `{"message":"who"}`, "who", errdefs.IsUnauthorized},
		{"forbidden", 403, `{"message":"no"}`, "no", errdefs.IsPermissionDenied},
		{"internal", 500, `{"message":"oops"}`, "oops", errdefs.IsInternal},
		{"not implemented", 501, `{"message":"never"}`, "never", errdefs.IsNotImplemented},
		{"unavailable", 503, `{"message":"later"}`, "later", errdefs.IsUnavailable},
		{"text", 500, "  plain\n", "plain", errdefs.IsInternal},
		{"other JSON", 500, `{"error":"x"}`, `{"error":"x"}`, errdefs.IsInternal},
		{"nothing", 404, "", "engine answered 404 Not Found without a reason", errdefs.IsNotFound},
		{"a status without a kind", 418, `{"message":"tea"}`, "tea", func(err error) bool { return !errdefs.IsNotFound(err) }},
		{"a very long one", 500, strings.Repeat("x", 1<<20), strings.Repeat("x", 64<<10), errdefs.IsInternal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.on("GET /x", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			err := e.Call(t.Context(), engine.Request{Method: "GET", Path: "/x"}, nil, nil)
			var status *engine.StatusError
			if !errors.As(err, &status) || status.Status != tc.status || err.Error() != tc.want || !tc.is(err) {
				t.Errorf("%#v: %.100v", status, err)
			}
		})
	}
}

func TestCall_decodes(t *testing.T) {
	f := newFake(t)
	e, _ := healthy(t, f)
	f.on("POST /x", func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("content type %q", got)
		}
		_, _ = io.Copy(w, r.Body)
	})
	post := engine.Request{Method: "POST", Path: "/x", Header: http.Header{"X": {"y"}}}
	var out struct{ A int }
	if err := e.Call(t.Context(), post, map[string]int{"A": 5}, &out); err != nil || out.A != 5 {
		t.Errorf("%v, %v", out, err)
	}
	if post.Header.Get("Content-Type") != "" {
		t.Error("the caller's headers were changed")
	}
	var raw []byte
	if err := e.Call(t.Context(), post, json.RawMessage(`{"b": 1}`), &raw); err != nil || !bytes.Contains(raw, []byte(`"b"`)) {
		t.Errorf("%s, %v", raw, err)
	}
	if err := e.Call(t.Context(), post, "text", &out); err == nil || !strings.Contains(err.Error(), "engine n1: answer to POST /x") {
		t.Error(err)
	}
	if err := e.Call(t.Context(), post, func() {}, &out); err == nil || !strings.Contains(err.Error(), "encode request") {
		t.Error(err)
	}
}

func TestCall_anAnswerThatBreaksOff(t *testing.T) {
	f := newFake(t)
	e, _ := healthy(t, f)
	f.on("GET /x", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	err := e.Call(t.Context(), engine.Request{Method: "GET", Path: "/x"}, nil, nil)
	var unreachable *engine.UnreachableError
	if !errors.As(err, &unreachable) || !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "engine n1 (10.0.0.1:2375) cannot be reached: read answer to GET /x") {
		t.Error(err)
	}
}

func TestHijack(t *testing.T) {
	raw := func(head string) func(*testing.T, http.ResponseWriter) {
		return func(t *testing.T, w http.ResponseWriter) {
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, head+"early ")
			line, _ := rw.ReadString('\n')
			fmt.Fprint(conn, "echo "+line)
		}
	}
	for _, tc := range []struct {
		name     string
		answer   func(*testing.T, http.ResponseWriter)
		upgraded bool
		want     string
	}{
		{"101", raw("HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"), true, "early echo hello\n"},
		{"200, as for old clients", raw("HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"), true, "early echo hello\n"},
		{"200 with a body of its own", func(_ *testing.T, w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/vnd.docker.raw-stream")
			fmt.Fprint(w, "body")
		}, false, "body"},
		{"200 of another type", func(_ *testing.T, w http.ResponseWriter) { fmt.Fprint(w, "body") }, false, "body"},
		{"an error", func(_ *testing.T, w http.ResponseWriter) { http.Error(w, "no", http.StatusConflict) }, false, "no\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			e, _ := healthy(t, f)
			f.on("POST /containers/c1/attach", func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "tcp" || r.Header.Get("Connection") != "Upgrade" {
					t.Errorf("headers %v", r.Header)
				}
				tc.answer(t, w)
			})
			h, err := e.Hijack(t.Context(), engine.Request{
				Method: "POST", Path: "/containers/c1/attach", Header: http.Header{"Upgrade": {"tcp"}, "Connection": {"Upgrade"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Conn.Close()
			if h.Upgraded != tc.upgraded {
				t.Fatalf("upgraded: %t, %v", h.Upgraded, h.Response)
			}
			from := io.Reader(h.Response.Body)
			if h.Upgraded {
				from = h.Reader
				fmt.Fprint(h.Conn, "hello\n")
			}
			if got, err := io.ReadAll(from); string(got) != tc.want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestHijack_itsContextBoundsTheWaitOnly(t *testing.T) {
	f := newFake(t)
	e, _ := healthy(t, f)
	f.on("POST /exec/x/start", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, _ := http.NewResponseController(w).Hijack()
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\n\r\n")
		line, _ := rw.ReadString('\n')
		fmt.Fprint(conn, line)
	})
	ctx, cancel := context.WithCancel(t.Context())
	h, err := e.Hijack(ctx, engine.Request{Method: "POST", Path: "/exec/x/start"})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Conn.Close()
	cancel()
	fmt.Fprint(h.Conn, "still here\n")
	if got, err := h.Reader.ReadString('\n'); got != "still here\n" {
		t.Errorf("%q, %v", got, err)
	}

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Hijack(canceled, engine.Request{Method: "POST", Path: "/exec/x/start"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Many requests, refreshes and events at once, while connections break: it is
// for the race detector.
func TestEngine_manyAtOnce(t *testing.T) {
	f := newFake(t)
	for i := range 20 {
		f.put(fakeContainer{ID: fmt.Sprint("c", i)})
	}
	e, o := healthy(t, f)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 30 {
				id := fmt.Sprint("c", (i+j)%20)
				f.put(fakeContainer{ID: id, Memory: int64(j)})
				f.emit("update", id)
				_ = e.RefreshContainer(t.Context(), id)
				_ = e.RefreshAll(t.Context())
				_, _, _, _ = e.Containers(), e.Status(), e.Images(), e.Health()
				if j == 15 {
					f.net.Cut(false)
				}
				if i == 0 && j%10 == 0 {
					e.SetMaintenance(j%20 == 0)
				}
			}
		})
	}
	wg.Wait()
	e.SetMaintenance(false)
	f.put(fakeContainer{ID: "last"})
	o.until(t, "it goes on", func() bool {
		if f.listening() > 0 {
			f.emit("create", "last")
		}
		return e.State() == engine.Healthy && e.Container("last") != nil
	})
}

func (f *fake) listening() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.listeners)
}

func TestNew_errors(t *testing.T) {
	o := newRecorder()
	for _, tc := range []struct {
		name string
		cfg  engine.Config
		want string
	}{
		{"no address", engine.Config{Observer: o}, `engine address ""`},
		{"no observer", engine.Config{Address: "a:1"}, "engine needs an observer"},
		{"most below least", engine.Config{Address: "a:1", Observer: o, RefreshMin: 2, RefreshMax: 1}, "max refresh interval cannot be less than min refresh interval"},
	} {
		if _, err := engine.New(tc.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
