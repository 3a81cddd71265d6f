package image_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// spooled is how many files with no name any more this process has open below
// a directory: what is kept of images on their way.
func spooled(t *testing.T, dir string) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		to, err := os.Readlink(link) // it may be closed by now
		if err == nil && strings.HasPrefix(to, dir+"/") && strings.HasSuffix(to, "(deleted)") {
			n++
		}
	}
	return n
}

// spoolIn has archives kept in a directory of the test's. Engines must be there
// by then: their sockets would be in it too, with paths that are too long.
func spoolIn(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

// heapWatch takes the most memory that is in use, until stop.
func heapWatch() (stop func() (most uint64)) {
	end := make(chan struct{})
	var watching sync.WaitGroup
	var most uint64
	watching.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	})
	return func() uint64 {
		close(end)
		watching.Wait()
		return most
	}
}

// throttled reads a megabyte a second until hurry is closed.
type throttled struct {
	io.Reader
	hurry <-chan struct{}
}

func (r throttled) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p[:min(len(p), 64<<10)])
	select {
	case <-r.hurry:
	case <-time.After(time.Duration(n) * time.Second / (1 << 20)):
	}
	return n, err
}

func TestLoad_ofMuchTakesLittleMemoryHoweverSlowOneEngineIs(t *testing.T) {
	const size = 200 << 20
	engines := enginetest.StartMany(t, 3)
	dir := spoolIn(t)
	hurry, quick, slow := make(chan struct{}), make(chan struct{}, 2), make(chan int64, 1)
	for i, e := range engines {
		e.Handle("POST", "/images/load", func(w http.ResponseWriter, r *http.Request) {
			from := io.Reader(r.Body)
			if i == 1 {
				from = throttled{r.Body, hurry}
			}
			n, err := io.Copy(io.Discard, from)
			if n != size || err != nil {
				t.Errorf("%s read %d bytes, %v", e.Name(), n, err)
			}
			fmt.Fprintln(w, `{"stream":"Loaded image: a:1\n"}`)
			if i == 1 {
				slow <- n
			} else {
				quick <- struct{}{}
			}
		})
	}
	d := open(t, engines...)
	runtime.GC()
	most := heapWatch()
	upload := &watchedReader{Reader: io.LimitReader(zeros{}, size), ended: make(chan struct{})}
	go func() {
		defer close(hurry)
		<-upload.ended
		<-quick
		<-quick
		if len(slow) > 0 {
			t.Error("the slow engine was not slower")
		}
		if n := spooled(t, dir); n != 1 {
			t.Errorf("%d files keep the archive", n)
		}
	}()
	status, body := d.Call("POST", "/images/load", upload)
	if last, err := lastOf(messagesIn(t, body)); status != http.StatusOK || err != "" || last["n2"] != "Loading Image... : loaded" {
		t.Errorf("%d %s", status, body)
	}
	if used := most(); used > 64<<20 {
		t.Errorf("%d MB were in use", used>>20)
	}
	if n := spooled(t, dir); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

// What may go wrong on one engine while it loads. Each has read some of the
// archive before.
func TestLoad_oneEngineFailsInTheMiddle(t *testing.T) {
	archive := strings.Repeat(" ", 8<<20) + saved(t, "a:1") // leading space is none to JSON
	for name, c := range map[string]struct {
		how func(w http.ResponseWriter, r *http.Request)
		err string
	}{
		"it refuses": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInsufficientStorage)
			_, _ = io.WriteString(w, `{"message":"no space left on device"}`)
		}, "n2: no space left on device"},
		"it tells so in its progress": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"errorDetail":{"message":"bad layer"},"error":"bad layer"}`+"\n")
		}, "n2: bad layer"},
		"it hangs up":                     {hangUp, "n2: cannot be reached: "},
		"it hangs up after it has agreed": {func(w http.ResponseWriter, r *http.Request) { _ = http.NewResponseController(w).Flush(); hangUp(w, r) }, "n2: the connection broke: "},
		"it talks nonsense":               {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, "n2: decode progress: "},
	} {
		t.Run(name, func(t *testing.T) {
			engines := enginetest.StartMany(t, 3)
			dir := spoolIn(t)
			engines[1].Handle("POST", "/images/load", func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).EnableFullDuplex() // else Go reads all of the body first
				_, _ = io.ReadFull(r.Body, make([]byte, 1<<20))
				c.how(w, r)
			})
			d := open(t, engines...)
			status, body := d.Call("POST", "/images/load", strings.NewReader(archive))
			last, err := lastOf(messagesIn(t, body))
			if status != http.StatusOK || !strings.HasPrefix(err, c.err) || !strings.HasPrefix(last["n2"], "Loading Image... : "+strings.TrimPrefix(c.err, "n2: ")) {
				t.Errorf("%d, last words %q, error %q", status, last, err)
			}
			if last["n1"] != "Loading Image... : loaded" || last["n3"] != "Loading Image... : loaded" {
				t.Errorf("last words %q", last)
			}
			wantNames(t, "a:1 on", with(engines, "a:1"), "n1", "n3")
			if n := spooled(t, dir); n != 0 {
				t.Errorf("%d files are left", n)
			}
		})
	}
}

func TestLoad_givesUpAnEngineThatStopsAnsweringAndFinishesOnTheOthers(t *testing.T) {
	archive := saved(t, "a:1")
	engines := enginetest.StartMany(t, 3)
	engines[1].Handle("POST", "/images/load", func(_ http.ResponseWriter, r *http.Request) {
		engines[1].Freeze()
		<-r.Context().Done()
	})
	d := openWith(t, cluster.Config{ProbeInterval: 20 * time.Millisecond, FailureRetry: 1}, engines...)
	_, body := d.Call("POST", "/images/load", strings.NewReader(archive))
	last, err := lastOf(messagesIn(t, body))
	if !strings.Contains(err, "n2: ") || !strings.Contains(err, "stopped answering") || last["n1"] != "Loading Image... : loaded" || last["n3"] != "Loading Image... : loaded" {
		t.Errorf("last words %q, error %q", last, err)
	}
	wantNames(t, "a:1 on", with(engines, "a:1"), "n1", "n3")
}

func TestLoad_keepsNothingWhenItsClientGoes(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	dir := spoolIn(t)
	ended := make(chan error, 2)
	for _, e := range engines {
		e.Handle("POST", "/images/load", func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
		})
	}
	d := open(t, engines...)
	ctx, cancel := context.WithCancel(t.Context())
	body, upload := io.Pipe()
	kept := make(chan int, 1)
	go func() {
		_, _ = upload.Write(bytes.Repeat([]byte("x"), 1<<20))
		for _, e := range engines {
			enginetest.Eventually(t, e.Name()+" is asked to load", func() bool { return len(e.Requests("POST /images/load")) > 0 })
		}
		kept <- spooled(t, dir)
		cancel()
		upload.CloseWithError(context.Canceled)
	}()
	if resp, err := d.Send(ctx, "POST", "/images/load", body); err == nil {
		resp.Body.Close()
		t.Errorf("answer %d", resp.StatusCode)
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := <-kept; n != 1 {
		t.Errorf("%d files kept the archive while it came", n)
	}
	for range engines {
		if err := <-ended; err == nil {
			t.Error("an engine took the part for the whole")
		}
	}
	enginetest.Eventually(t, "the archive is not kept any more", func() bool { return spooled(t, dir) == 0 })
}

func TestLoad_withoutRoomToKeepTheArchive(t *testing.T) {
	const size = 16 << 20
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("a small file system cannot be made here: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	engines := enginetest.StartMany(t, 2)
	t.Setenv("TMPDIR", dir)
	ended := make(chan error, 2)
	for _, e := range engines {
		e.Handle("POST", "/images/load", func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
		})
	}
	d := open(t, engines...)
	status, body := d.Call("POST", "/images/load?quiet=1", io.LimitReader(zeros{}, size))
	if status != http.StatusInternalServerError || !strings.Contains(body, "no room to keep the image while the engines load it") || !strings.Contains(body, "TMPDIR") {
		t.Errorf("%d %s", status, body)
	}
	for range engines {
		if err := <-ended; err == nil {
			t.Error("an engine took the part for the whole")
		}
	}
	var stat unix.Statfs_t
	enginetest.Eventually(t, "the room is free again", func() bool { return unix.Statfs(dir, &stat) == nil && stat.Bavail == stat.Blocks })
}

// Whoever is refused while he still sends must be able to read why.
func TestLoad_refusedInTheMiddleByAllIsToldWhy(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	for _, e := range engines {
		e.Handle("POST", "/images/load", func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			_, _ = io.ReadFull(r.Body, make([]byte, 1<<20))
			w.WriteHeader(http.StatusInsufficientStorage)
			_, _ = io.WriteString(w, `{"message":"no space left on device"}`)
		})
	}
	d := open(t, engines...)
	for range 5 {
		d.Want("POST", "/images/load", io.LimitReader(zeros{}, 64<<20), http.StatusInsufficientStorage, `{"message":"no space left on device"}`)
	}
}

// untilStatus reads a stream of progress until a node's line has a status.
func untilStatus(t *testing.T, in *bufio.Scanner, node, status string) {
	t.Helper()
	for in.Scan() {
		if m := messagesIn(t, in.Text())[0]; m.ID == node && m.Status == status {
			return
		}
	}
	t.Fatalf("the stream ended before %s told %q: %v", node, status, in.Err())
}

// The slow engine goes on only when the client has seen that the other is done.
func TestOneSlowEngine_theOthersAreSeenToFinishBeforeIt(t *testing.T) {
	archive := saved(t, "a:1")
	for name, c := range map[string]struct{ path, engines, body, last string }{
		"pull": {"/images/create?fromImage=a&tag=1", "/images/create", "", "Pulling a:1... : Downloaded newer image for a:1"},
		"load": {"/images/load", "/images/load", archive, "Loading Image... : loaded"},
	} {
		t.Run(name, func(t *testing.T) {
			engines := enginetest.StartMany(t, 2)
			engines[0].Publish(enginetest.Image{Tags: []string{"a:1"}})
			goOn := make(chan struct{})
			engines[1].Handle("POST", c.engines, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				fmt.Fprintln(w, `{"status":"Working","progressDetail":{}}`)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-goOn:
				case <-r.Context().Done():
				}
				fmt.Fprintln(w, `{"errorDetail":{"message":"too late"},"error":"too late"}`)
			})
			resp := open(t, engines...).Do(t.Context(), "POST", c.path, strings.NewReader(c.body))
			defer resp.Body.Close()
			in := bufio.NewScanner(resp.Body)
			untilStatus(t, in, "n1", c.last)
			close(goOn)
			var rest strings.Builder
			for in.Scan() {
				rest.WriteString(in.Text() + "\n")
			}
			if _, err := lastOf(messagesIn(t, rest.String())); err != "n2: too late" {
				t.Errorf("the stream ended with %q", err)
			}
		})
	}
}

func TestTagAndRemove_doNotWaitForAnEngineThatStopsAnswering(t *testing.T) {
	for name, c := range map[string]struct{ method, path, engines, did string }{
		"tag": {"POST", "/images/a:1/tag?repo=b&tag=1", "/images/a:1/tag", "tagged on n1, n3"},
		"rmi": {"DELETE", "/images/a:1", "/images/a:1", "removed on n1, n3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // probes take their time to fail
			engines := enginetest.StartMany(t, 3)
			for _, e := range engines {
				e.AddImage(enginetest.Image{Tags: []string{"a:1"}})
			}
			engines[1].Handle(c.method, c.engines, func(_ http.ResponseWriter, r *http.Request) {
				engines[1].Freeze()
				<-r.Context().Done()
			})
			d := openWith(t, cluster.Config{ProbeInterval: 20 * time.Millisecond, FailureRetry: 1}, engines...)
			status, body := d.Call(c.method, c.path, nil)
			if status < 500 || !strings.Contains(body, "n2: ") || !strings.Contains(body, "; "+c.did) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}
