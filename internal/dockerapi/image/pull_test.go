package image_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

func TestPull_onEveryEngine(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for _, e := range engines {
		e.Publish(enginetest.Image{Tags: []string{"busybox:latest"}})
	}
	engines[0].Handle("POST", "/images/create", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Registry-Auth") != "secret" {
			t.Error("the credentials are lost")
		}
		engines[0].AddImage(enginetest.Image{Tags: []string{"busybox:latest"}})
		fmt.Fprintln(w, `{"status":"Already exists","progressDetail":{},"id":"layer"}`)
	})
	d := open(t, engines...)
	status, body := d.Call("POST", "/images/create?fromImage=busybox&tag=latest&platform=linux/amd64", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	wantNames(t, "pulled on", with(engines, "busybox:latest"), "n1", "n2", "n3")
	wantNames(t, "asked", engines[2].Requests("POST"), "POST /images/create?fromImage=busybox&platform=linux%2Famd64&tag=latest")
	last, err := lastOf(messagesIn(t, body))
	if err != "" || last["n1"] != "Pulling busybox:latest... : Already exists layer" || last["n2"] != "Pulling busybox:latest... : Downloaded newer image for busybox:latest" {
		t.Errorf("last words %q, error %q", last, err)
	}
	for _, m := range messagesIn(t, body) {
		if m.ProgressDetail == nil {
			t.Errorf("a line without details loses its place on a terminal: %+v", m)
		}
	}
	if _, list := d.Call("GET", "/images/json", nil); !strings.Contains(list, "busybox:latest") {
		t.Errorf("the image is not known at once: %s", list)
	}
}

func TestPull_whatTheTagMeans(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Config{})
	engine.Handle("POST", "/images/create", func(http.ResponseWriter, *http.Request) {})
	d := open(t, engine)
	for query, want := range map[string]string{
		"fromImage=a&tag=1":         "Pulling a:1...",
		"fromImage=a&tag=sha256:00": "Pulling a@sha256:00...",
		"fromImage=r:5000/a/b:1":    "Pulling r:5000/a/b:1...",
	} {
		_, body := d.Call("POST", "/images/create?"+query, nil)
		if last, _ := lastOf(messagesIn(t, body)); last["n1"] != want {
			t.Errorf("%s: %s", query, body)
		}
	}
}

func TestPull_thatFails(t *testing.T) {
	refuse := func(e *enginetest.Engine, text string) { e.Fail("POST", "/images/create", http.StatusForbidden, text) }
	inStream := func(e *enginetest.Engine, text string) {
		e.Handle("POST", "/images/create", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"status":"Pulling fs layer","id":"x"}`+"\n"+`{"errorDetail":{"message":%q},"error":%q}`+"\n", text, text)
		})
	}
	const otherOS = `image operating system "windows" cannot be used on this platform`
	for name, c := range map[string]struct {
		first, second func(*enginetest.Engine)
		status        int
		message       string // of a status
		n1, err       string // in the stream
	}{
		"everywhere alike is answered as by one engine": {
			first:  func(e *enginetest.Engine) {},
			second: func(e *enginetest.Engine) {},
			status: 404, message: `{"message":"pull access denied for a, repository does not exist or may require 'docker login'"}`,
		},
		"everywhere for different reasons": {
			first:  func(e *enginetest.Engine) { refuse(e, "one") },
			second: func(e *enginetest.Engine) { refuse(e, "two") },
			status: 403, message: `{"message":"n1: one; n2: two"}`,
		},
		"on one engine before it began": {
			first:  func(e *enginetest.Engine) { refuse(e, "too many requests") },
			second: func(e *enginetest.Engine) { e.Publish(enginetest.Image{Tags: []string{"a:1"}}) },
			status: 200, n1: "Pulling a:1... : too many requests", err: "n1: too many requests",
		},
		"on one engine in the middle": {
			first:  func(e *enginetest.Engine) { inStream(e, "disk full") },
			second: func(e *enginetest.Engine) { e.Publish(enginetest.Image{Tags: []string{"a:1"}}) },
			status: 200, n1: "Pulling a:1... : disk full", err: "n1: disk full",
		},
		"everywhere in the middle": {
			first:  func(e *enginetest.Engine) { inStream(e, "disk full") },
			second: func(e *enginetest.Engine) { inStream(e, "disk full") },
			status: 200, n1: "Pulling a:1... : disk full", err: "disk full",
		},
		"on an engine of another system": {
			first:  func(e *enginetest.Engine) { inStream(e, otherOS) },
			second: func(e *enginetest.Engine) { e.Publish(enginetest.Image{Tags: []string{"a:1"}}) },
			status: 200, n1: "Pulling a:1... : " + otherOS,
		},
		"on engines of another system all": {
			first:  func(e *enginetest.Engine) { refuse(e, otherOS) },
			second: func(e *enginetest.Engine) { refuse(e, otherOS) },
			status: 403, message: `{"message":"image operating system \"windows\" cannot be used on this platform"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			engines := enginetest.StartMany(t, 2)
			c.first(engines[0])
			c.second(engines[1])
			d := open(t, engines...)
			status, body := d.Call("POST", "/images/create?fromImage=a&tag=1", nil)
			if status != c.status || c.message != "" && strings.TrimSpace(body) != c.message {
				t.Errorf("%d %s, want %d %s", status, body, c.status, c.message)
			}
			if c.status != http.StatusOK {
				return
			}
			if last, err := lastOf(messagesIn(t, body)); last["n1"] != c.n1 || err != c.err {
				t.Errorf("last words %q, error %q", last, err)
			}
		})
	}
}

func TestPull_doesNotFloodTheClient(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Config{})
	engine.Handle("POST", "/images/create", func(w http.ResponseWriter, _ *http.Request) {
		for i := range 20_000 {
			fmt.Fprintf(w, `{"status":"Downloading","progressDetail":{"current":%d,"total":20000},"id":"x"}`+"\n", i+1)
		}
		fmt.Fprintln(w, `{"status":"Status: Downloaded"}`)
	})
	d := open(t, engine)
	began := time.Now()
	_, body := d.Call("POST", "/images/create?fromImage=a&tag=1", nil)
	all := messagesIn(t, body)
	if most := 3 + int(time.Since(began)/(100*time.Millisecond)); len(all) > most {
		t.Errorf("%d lines, no more than %d are due", len(all), most)
	}
	if last, _ := lastOf(all); last["n1"] != "Pulling a:1... : Downloaded" {
		t.Errorf("the last word is lost: %q", last)
	}
}

func TestPull_endsWithItsClient(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	began, ended := make(chan struct{}, 2), make(chan struct{}, 2)
	for _, e := range engines {
		e.Handle("POST", "/images/create", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, `{"status":"Downloading"}`)
			_ = http.NewResponseController(w).Flush()
			began <- struct{}{}
			<-r.Context().Done()
			ended <- struct{}{}
		})
	}
	d := open(t, engines...)
	ctx, cancel := context.WithCancel(t.Context())
	resp := d.Do(ctx, "POST", "/images/create?fromImage=a&tag=1", nil)
	defer resp.Body.Close()
	<-began
	<-began
	cancel()
	<-ended
	<-ended
}

func TestPull_givesUpAnEngineThatStopsAnswering(t *testing.T) {
	t.Parallel() // probes take their time to fail
	engines := enginetest.StartMany(t, 2)
	engines[0].Publish(enginetest.Image{Tags: []string{"a:1"}})
	began := make(chan struct{})
	engines[1].Handle("POST", "/images/create", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"status":"Downloading"}`)
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
	})
	d := openWith(t, cluster.Config{ProbeInterval: 20 * time.Millisecond, FailureRetry: 1}, engines...)
	go func() {
		<-began
		engines[1].Freeze()
	}()
	_, body := d.Call("POST", "/images/create?fromImage=a&tag=1", nil)
	last, err := lastOf(messagesIn(t, body))
	if err != "n2: the engine has stopped answering" || !strings.Contains(last["n1"], "Downloaded") {
		t.Errorf("last words %q, error %q", last, err)
	}
}

func TestPull_aBrokenConnectionIsAnError(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Config{})
	engine.Handle("POST", "/images/create", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"Downloading"}`+"\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	_, body := open(t, engine).Call("POST", "/images/create?fromImage=a&tag=1", nil)
	if _, err := lastOf(messagesIn(t, body)); !strings.Contains(err, "the connection broke") {
		t.Errorf("error %q", err)
	}
}
