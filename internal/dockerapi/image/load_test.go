package image_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// saved is an archive with the images, as the fakes write it.
func saved(t *testing.T, tags ...string) string {
	t.Helper()
	from := enginetest.Start(t, enginetest.Config{Name: "from"})
	query := "/images/get?"
	for _, tag := range tags {
		from.AddImage(enginetest.Image{Tags: []string{tag}})
		query += "&names=" + tag
	}
	_, archive := open(t, from).Call("GET", query, nil)
	return archive
}

func TestLoad_intoEveryEngine(t *testing.T) {
	archive := saved(t, "a:1", "b:1")
	engines := enginetest.StartMany(t, 3)
	d := open(t, engines...)
	status, body := d.Call("POST", "/images/load?quiet=0", strings.NewReader(archive))
	all := messagesIn(t, body)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	wantNames(t, "a:1 on", with(engines, "a:1"), "n1", "n2", "n3")
	wantNames(t, "b:1 on", with(engines, "b:1"), "n1", "n2", "n3")
	wantNames(t, "printed", streamsIn(all), "Loaded image: a:1\n", "Loaded image: b:1\n")
	if last, err := lastOf(all); err != "" || last["n1"] != "Loading Image... : loaded" || len(last) != 3 {
		t.Errorf("last words %q, error %q", last, err)
	}
	if _, list := d.Call("GET", "/images/json", nil); !strings.Contains(list, "b:1") {
		t.Errorf("the image is not known at once: %s", list)
	}
}

func TestLoad_quietly(t *testing.T) {
	archive := saved(t, "a:1")
	d := open(t, enginetest.StartMany(t, 3)...)
	d.Want("POST", "/images/load?quiet=1", strings.NewReader(archive), http.StatusOK, `{"stream":"Loaded image: a:1\n"}`)
	wantNames(t, "asked", d.engines[0].Requests("POST"), "POST /images/load?quiet=1")
}

func TestLoad_thatFails(t *testing.T) {
	archive := saved(t, "a:1")
	t.Run("on one engine, is told", func(t *testing.T) {
		engines := enginetest.StartMany(t, 3)
		engines[1].Fail("POST", "/images/load", http.StatusInternalServerError, "no space left on device")
		d := open(t, engines...)
		status, body := d.Call("POST", "/images/load", strings.NewReader(archive))
		last, err := lastOf(messagesIn(t, body))
		if status != http.StatusOK || err != "n2: no space left on device" || last["n2"] != "Loading Image... : no space left on device" {
			t.Errorf("%d, last words %q, error %q", status, last, err)
		}
		wantNames(t, "a:1 on", with(engines, "a:1"), "n1", "n3")
	})
	t.Run("on all, is told as by one engine", func(t *testing.T) {
		engines := enginetest.StartMany(t, 2)
		for _, e := range engines {
			e.Fail("POST", "/images/load", http.StatusInternalServerError, "no space left on device")
		}
		d := open(t, engines...)
		d.Want("POST", "/images/load", strings.NewReader(archive), http.StatusInternalServerError, `{"message":"no space left on device"}`)
		d.Want("GET", "/images/json", nil, http.StatusOK, `[]`)
	})
	t.Run("for what is in the archive", func(t *testing.T) {
		d := open(t, enginetest.StartMany(t, 2)...)
		const text = "Error processing tar file(exit status 1): unexpected EOF"
		d.Want("POST", "/images/load?quiet=1", strings.NewReader("no archive"), http.StatusInternalServerError, `{"message":"`+text+`"}`)
		_, body := d.Call("POST", "/images/load", strings.NewReader("no archive"))
		if _, err := lastOf(messagesIn(t, body)); err != text {
			t.Errorf("%s", body)
		}
	})
}

func TestLoad_aSlowEngineDoesNotHoldUpTheClientOrTheOthers(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	const size = 32 << 20
	goOn, quickDone := make(chan struct{}), make(chan struct{})
	read := func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		fmt.Fprintln(w, `{"stream":"Loaded image: a:1\n"}`)
	}
	engines[0].Handle("POST", "/images/load", func(w http.ResponseWriter, r *http.Request) {
		<-goOn
		read(w, r)
	})
	engines[1].Handle("POST", "/images/load", func(w http.ResponseWriter, r *http.Request) {
		read(w, r)
		close(quickDone)
	})
	d := open(t, engines...)
	upload := &watchedReader{Reader: io.LimitReader(zeros{}, size), ended: make(chan struct{})}
	go func() {
		<-upload.ended // the client is rid of it
		<-quickDone
		close(goOn)
	}()
	status, body := d.Call("POST", "/images/load?quiet=1", upload)
	if status != http.StatusOK || strings.TrimSpace(body) != `{"stream":"Loaded image: a:1\n"}` {
		t.Errorf("%d %s", status, body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type watchedReader struct {
	io.Reader
	ended chan struct{}
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		close(r.ended)
	}
	return n, err
}

func TestLoad_endsEarlyWhenNoEngineWantsIt(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	for _, e := range engines {
		e.Handle("POST", "/images/load", func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex() // else Go waits for more of the body
			http.Error(w, "no", http.StatusForbidden)
		})
	}
	d := open(t, engines...)
	// The client never comes to an end.
	body, upload := io.Pipe()
	defer upload.Close()
	go func() {
		for {
			if _, err := upload.Write([]byte("more of it")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	r, err := http.NewRequestWithContext(t.Context(), "POST", d.URL+"/images/load", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := d.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	// It reads the answer to its end before it stops sending.
	began := time.Now()
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusForbidden || err != nil || !strings.Contains(string(answer), "no") {
		t.Errorf("%d %s, %v", resp.StatusCode, answer, err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the end of the answer came after %s", took)
	}
}

func TestLoad_endsWithItsClient(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	begun, ended := make(chan error, 2), make(chan error, 2)
	for _, e := range engines {
		e.Handle("POST", "/images/load", func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.ReadFull(r.Body, make([]byte, 1))
			begun <- err
			_, err = io.Copy(io.Discard, r.Body)
			ended <- err
		})
	}
	d := open(t, engines...)
	ctx, cancel := context.WithCancel(t.Context())
	body, upload := io.Pipe()
	go func() {
		_, _ = upload.Write(bytes.Repeat([]byte("x"), 1<<20))
		for range engines { // one that has not begun has nothing to end
			<-begun
		}
		cancel()
		upload.CloseWithError(context.Canceled) // Go's client waits for its body
	}()
	if resp, err := d.Send(ctx, "POST", "/images/load", body); err == nil {
		resp.Body.Close()
		t.Errorf("answer %d", resp.StatusCode)
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for range engines {
		if err := <-ended; err == nil {
			t.Error("an engine took the part for the whole")
		}
	}
}

func TestImport_makesOneImageAndCopiesIt(t *testing.T) {
	for name, query := range map[string]string{
		"with a name":          "repo=localhost:5000/imp&tag=1",
		"with a name alone":    "repo=imp",
		"without a name":       "",
		"with a name and more": "repo=imp&tag=2&message=hello&changes=CMD+x",
	} {
		t.Run(name, func(t *testing.T) {
			engines := enginetest.StartMany(t, 3)
			d := open(t, engines...)
			status, body := d.Call("POST", "/images/create?fromSrc=-&"+query, strings.NewReader("files"))
			all := messagesIn(t, body)
			if status != http.StatusOK || len(all) == 0 {
				t.Fatalf("%d %s", status, body)
			}
			id := all[len(all)-1].Status
			wantNames(t, "the image is on", with(engines, id), "n1", "n2", "n3")
			for _, e := range engines {
				if n := len(e.Images()); n != 1 {
					t.Errorf("%s has %d images", e.Name(), n)
				}
			}
			if len(streamsIn(all)) > 0 {
				t.Errorf("more is printed than the ID: %s", body)
			}
			if _, list := d.Call("GET", "/images/json", nil); !strings.Contains(list, id) {
				t.Errorf("the image is not known at once: %s", list)
			}
			if strings.Contains(query, "repo=imp") && len(with(engines, "imp:"+map[bool]string{true: "2", false: "latest"}[strings.Contains(query, "tag=2")])) != 3 {
				t.Error("the name is not known everywhere")
			}
		})
	}
}

func TestImport_thatFails(t *testing.T) {
	t.Run("where it is made", func(t *testing.T) {
		engine := enginetest.Start(t, enginetest.Config{})
		engine.Fail("POST", "/images/create", http.StatusBadRequest, "invalid reference format")
		open(t, engine).Want("POST", "/images/create?fromSrc=-&repo=A", strings.NewReader("files"), http.StatusBadRequest, `{"message":"invalid reference format"}`)
	})
	t.Run("where it is copied to", func(t *testing.T) {
		engines := enginetest.StartMany(t, 2)
		for _, e := range engines {
			e.Fail("POST", "/images/load", http.StatusInternalServerError, "no space left on device")
		}
		_, body := open(t, engines...).Call("POST", "/images/create?fromSrc=-&repo=a", strings.NewReader("files"))
		all := messagesIn(t, body)
		if _, err := lastOf(all); !strings.Contains(err, "no space left on device") || !strings.HasPrefix(all[len(all)-2].Status, "sha256:") {
			t.Errorf("%s", body)
		}
	})
}

func TestImport_givesUpAnEngineThatStopsAnswering(t *testing.T) {
	t.Parallel() // probes take their time to fail
	engines := enginetest.StartMany(t, 2)
	hang := func(e *enginetest.Engine) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			e.Freeze()
			<-r.Context().Done()
		}
	}
	for _, e := range engines {
		e.Handle("GET", "/images/get", hang(e))
	}
	d := openWith(t, cluster.Config{ProbeInterval: 20 * time.Millisecond, FailureRetry: 1}, engines...)
	_, body := d.Call("POST", "/images/create?fromSrc=-&repo=a", strings.NewReader("files"))
	if _, err := lastOf(messagesIn(t, body)); !strings.Contains(err, "the engine has stopped answering") {
		t.Errorf("%s", body)
	}
}

func TestImport_fromAnAddress(t *testing.T) {
	engine := enginetest.Start(t, enginetest.Config{})
	d := open(t, engine)
	if status, body := d.Call("POST", "/images/create?fromSrc=http://files/x.tar&repo=a", nil); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	wantNames(t, "asked", engine.Requests("POST"), "POST /images/create?fromSrc=http%3A%2F%2Ffiles%2Fx.tar&repo=a")
}

// A request after an upload must find the connection in order.
func TestLoad_leavesTheConnectionUsable(t *testing.T) {
	archive := saved(t, "a:1")
	d := open(t, enginetest.Start(t, enginetest.Config{}))
	for range 20 {
		if status, body := d.Call("POST", "/images/load", strings.NewReader(archive)); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		d.Want("POST", "/images/a:1/tag?repo=b", nil, http.StatusCreated, "")
		time.Sleep(time.Millisecond) // so that a deadline that was left behind would show
	}
}

func TestImport_endsWithItsClient(t *testing.T) {
	for name, hung := range map[string]struct{ method, path string }{
		"while the image is made":                 {"POST", "/images/create"},
		"while the image is taken for the others": {"GET", "/images/get"},
		"while the others load it":                {"POST", "/images/load"},
	} {
		t.Run(name, func(t *testing.T) {
			engines := enginetest.StartMany(t, 2)
			dir := spoolIn(t)
			began, ended := make(chan struct{}, 2), make(chan struct{}, 2)
			for _, e := range engines {
				e.Handle(hung.method, hung.path, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					_ = http.NewResponseController(w).Flush()
					began <- struct{}{}
					<-r.Context().Done()
					ended <- struct{}{}
				})
			}
			d := open(t, engines...)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-began
				cancel()
			}()
			if resp, err := d.Send(ctx, "POST", "/images/create?fromSrc=-&repo=a", strings.NewReader("files")); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			<-ended
			enginetest.Eventually(t, "nothing is kept any more", func() bool { return spooled(t, dir) == 0 })
		})
	}
}
