package dockerapi_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/dockerapi"
)

func TestForward_theAnswerIsTheEngines(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		header http.Header
		body   string
	}{
		{"a success", 200, http.Header{"Content-Type": {"application/json"}}, `{"a" : 1.0e2, "b":"<&>" }` + "\n"},
		{"created, with headers that nobody knows", 201, http.Header{"X-Later": {"a", "b"}, "Docker-Distribution-Api-Version": {"2"}}, "x"},
		{"an error", 409, http.Header{"Content-Type": {"application/json"}}, `{"message":"is in use"}`},
		{"an error without JSON", 500, http.Header{"Content-Type": {"text/plain"}}, "oops"},
		{"a status of its own", 418, nil, "tea"},
		{"no content", 204, nil, ""},
		{"not modified", 304, nil, ""},
		{"compressed", 200, http.Header{"Content-Encoding": {"gzip"}}, "\x1f\x8b not really"},
		{"nothing", 200, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEngine(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range tc.header {
					w.Header()[name] = values
				}
				w.Header().Set("Server", "Docker/27 (linux)")
				w.Header().Set("Api-Version", "1.99")
				w.Header().Set("Ostype", "windows")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			resp, body := open(t, route("GET", "/x", forward(e, dockerapi.ForwardOptions{}))).get("GET", "/x")
			if resp.StatusCode != tc.status || body != tc.body {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
			for name, values := range tc.header {
				if diff := cmp.Diff(values, resp.Header[name]); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
			if tc.status == 200 && resp.ContentLength != int64(len(tc.body)) {
				t.Errorf("length %d", resp.ContentLength)
			}
			// What speaks of the server one is connected to is ours.
			if resp.Header.Get("Server") != "skep/1 (linux)" || resp.Header.Get("Api-Version") != "1.41" || resp.Header.Get("Ostype") != "linux" {
				t.Errorf("headers %v", resp.Header)
			}
		})
	}
}

func TestForward_theRequestIsTheUsers(t *testing.T) {
	type seen struct {
		Line   string
		Header http.Header
		Body   string
		Length int64
	}
	got := make(chan seen, 1)
	e := newEngine(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, name := range []string{"User-Agent", "Accept-Encoding"} {
			r.Header.Del(name)
		}
		got <- seen{r.Method + " " + r.RequestURI, r.Header, string(body), r.ContentLength}
	})
	with := func(o dockerapi.ForwardOptions) *frontDoor {
		return open(t, route("POST", "/{name:.*}", forward(e, o)))
	}
	request := func(path, body string, change func(*http.Request)) *http.Request {
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		if body == "" {
			r.Body = http.NoBody
		}
		if change != nil {
			change(r)
		}
		return r
	}
	for _, tc := range []struct {
		name string
		door *frontDoor
		r    *http.Request
		want seen
	}{
		{"as it is", with(dockerapi.ForwardOptions{}), request("/v1.40/a/b?x=1&x=2&y=a%20b", "body", func(r *http.Request) {
			r.Header.Set("Content-Type", "application/tar")
			r.Header["X-Later"] = []string{"a", "b"}
			r.Header.Set("X-Registry-Auth", "secret")
		}), seen{"POST /a/b?x=1&x=2&y=a+b", http.Header{
			"Content-Type": {"application/tar"}, "X-Later": {"a", "b"}, "X-Registry-Auth": {"secret"}, "Content-Length": {"4"},
		}, "body", 4}},
		{"without what is for one hop", with(dockerapi.ForwardOptions{}), request("/x", "", func(r *http.Request) {
			for _, name := range []string{"Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "X-Named", "X-Too", "X-Third"} {
				r.Header.Set(name, "x")
			}
			r.Header["Connection"] = []string{"X-Named, x-too", "X-Third"}
			r.Header.Set("X-Other", "stays")
		}), seen{"POST /x", http.Header{"X-Other": {"stays"}, "Content-Length": {"0"}}, "", 0}},
		{"of unknown length", with(dockerapi.ForwardOptions{}), request("/x", "chunks", func(r *http.Request) {
			r.ContentLength = -1
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("chu"), strings.NewReader("nks")))
		}), seen{"POST /x", http.Header{}, "chunks", -1}},
		{"with another query", with(dockerapi.ForwardOptions{Query: url.Values{"container": {"full id"}}}), request("/commit?container=x", "", nil),
			seen{"POST /commit?container=full+id", http.Header{"Content-Length": {"0"}}, "", 0}},
		{"without its body", with(dockerapi.ForwardOptions{NoBody: true}), request("/x", `{"HostConfig":{}}`, func(r *http.Request) {
			r.Header.Set("Content-Type", "application/json")
		}), seen{"POST /x", http.Header{"Content-Length": {"0"}}, "", 0}},
		{"with another body", with(dockerapi.ForwardOptions{Body: strings.NewReader("ours"), Length: 4}), request("/x", "theirs, longer", func(r *http.Request) {
			r.Header.Set("Content-Type", "application/json")
		}), seen{"POST /x", http.Header{"Content-Type": {"application/json"}, "Content-Length": {"4"}}, "ours", 4}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if resp := tc.door.do(tc.r); resp.StatusCode != 200 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			if diff := cmp.Diff(tc.want, <-got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What the engine sends is with the user before the engine sends more.
func TestForward_passesOnWhatComesAsItComes(t *testing.T) {
	seen := make(chan struct{})
	e := newEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush() // the head alone
		for range 3 {
			<-seen
			fmt.Fprintln(w, "line")
			_ = http.NewResponseController(w).Flush()
		}
	})
	d := open(t, route("GET", "/logs", forward(e, dockerapi.ForwardOptions{})))
	resp := d.do(httptest.NewRequest("GET", "/logs", nil))
	lines := bufio.NewReader(resp.Body)
	for range 3 {
		seen <- struct{}{}
		if line, err := lines.ReadString('\n'); line != "line\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}

// What the user sends is with the engine before the user sends more.
func TestForward_passesOnTheRequestsBodyAsItComes(t *testing.T) {
	seen := make(chan string)
	e := newEngine(t, func(_ http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				seen <- string(buf[:n])
			}
			if err != nil {
				close(seen)
				return
			}
		}
	})
	d := open(t, route("PUT", "/archive", forward(e, dockerapi.ForwardOptions{})))
	from, to := io.Pipe()
	answered := make(chan int)
	go func() { answered <- d.do(httptest.NewRequest("PUT", "/archive", from)).StatusCode }()
	for _, part := range []string{"one", "two", "three"} {
		_, _ = io.WriteString(to, part)
		if got := <-seen; got != part {
			t.Fatalf("the engine has %q of %q", got, part)
		}
	}
	to.Close()
	<-seen
	if status := <-answered; status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestForward_theEnginesRequestEndsWithItsClient(t *testing.T) {
	ended := make(chan struct{})
	e := newEngine(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(ended)
	})
	d := open(t, route("GET", "/events", forward(e, dockerapi.ForwardOptions{})))
	conn := d.dial()
	fmt.Fprint(conn, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	<-ended
}

func TestForward_anEngineThatDiesInItsAnswerBreaksTheConnection(t *testing.T) {
	for _, length := range []string{"", "1000"} {
		e := newEngine(t, func(w http.ResponseWriter, _ *http.Request) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			fmt.Fprint(w, "half of")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		d := open(t, route("GET", "/x", forward(e, dockerapi.ForwardOptions{})))
		resp := d.do(httptest.NewRequest("GET", "/x", nil))
		body, err := io.ReadAll(resp.Body)
		if err == nil || string(body) != "half of" {
			t.Errorf("length %q: %q, %v: it looks whole", length, body, err)
		}
	}
}

func TestForward_anEngineThatIsNotThere(t *testing.T) {
	e := newEngine(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	d := open(t, route("POST", "/x", forward(e, dockerapi.ForwardOptions{})))
	resp, body := d.get("POST", "/x")
	if message := messageIn(t, resp, body); resp.StatusCode != 503 || !strings.Contains(message, "cannot be reached") {
		t.Errorf("%d %s", resp.StatusCode, message)
	}
}

func TestForward_anUpgradeThatNobodyAskedFor(t *testing.T) {
	e := newEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		conn.Close()
	})
	d := open(t, route("POST", "/x", forward(e, dockerapi.ForwardOptions{})))
	if resp, _ := d.get("POST", "/x"); resp.StatusCode != 500 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestForward_head(t *testing.T) {
	e := newEngine(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Docker-Container-Path-Stat", "e30=")
		w.Header().Set("Content-Length", "123")
	})
	d := open(t, route("HEAD", "/archive", forward(e, dockerapi.ForwardOptions{})))
	resp, body := d.get("HEAD", "/archive")
	if resp.StatusCode != 200 || resp.Header.Get("X-Docker-Container-Path-Stat") != "e30=" || resp.ContentLength != 123 || body != "" {
		t.Errorf("%v, length %d", resp.Header, resp.ContentLength)
	}
}

// A user who has read an answer sees the operation's effect: what is to be read
// again is read before.
func TestForward_tellsBeforeTheUserKnows(t *testing.T) {
	t.Run("of an answer", func(t *testing.T) {
		for _, status := range []int{204, 304, 400, 500} {
			told := make(chan int, 1)
			e := newEngine(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
			d := open(t, route("POST", "/stop", forward(e, dockerapi.ForwardOptions{Answered: func(r *http.Response) { told <- r.StatusCode }})))
			resp, _ := d.get("POST", "/stop")
			if want := status < 400; resp.StatusCode != status || len(told) == 1 != want {
				t.Errorf("status %d: told %d times", resp.StatusCode, len(told))
			}
		}
	})
	t.Run("of the end of a body", func(t *testing.T) {
		ended := make(chan struct{})
		read := false // of the handler, then of the reader of its end
		e := newEngine(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "progress")
			_ = http.NewResponseController(w).Flush()
			<-ended
		})
		d := open(t, route("POST", "/build", forward(e, dockerapi.ForwardOptions{BodyRead: func() { read = true }})))
		resp := d.do(httptest.NewRequest("POST", "/build", nil))
		lines := bufio.NewReader(resp.Body)
		if line, err := lines.ReadString('\n'); line != "progress\n" {
			t.Fatalf("%q, %v", line, err)
		}
		close(ended)
		if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) || !read {
			t.Errorf("the end is %v; told: %t", err, read)
		}
	})
	t.Run("of a body that is held", func(t *testing.T) {
		exited, goOn := make(chan struct{}), make(chan struct{})
		held := make(chan struct{})
		e := newEngine(t, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-exited
			fmt.Fprintln(w, `{"StatusCode":0}`)
			_ = http.NewResponseController(w).Flush() // and the end comes later
			<-goOn
		})
		d := open(t, route("POST", "/wait", forward(e, dockerapi.ForwardOptions{HoldBody: true, BodyRead: func() { close(held) }})))
		resp := d.do(httptest.NewRequest("POST", "/wait", nil)) // the head comes at once
		close(exited)
		first := make(chan error, 1)
		go func() {
			_, err := resp.Body.Read(make([]byte, 100))
			first <- err
		}()
		select {
		case <-first:
			t.Error("the body was passed on before its end")
		case <-time.After(20 * time.Millisecond): // it can only be too early
		}
		close(goOn)
		if err := <-first; err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		<-held
	})
}
