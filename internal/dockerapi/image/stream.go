package image

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
)

// create pulls an image, or imports one.
func (i *Router) create(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	query := r.URL.Query()
	if query.Get("fromImage") != "" {
		return stream(w, func(emit cluster.Emit) error {
			return i.cluster.PullImage(r.Context(), cluster.PullOptions{
				Query: query, RegistryAuth: r.Header.Get("X-Registry-Auth"), Version: dockerapi.VersionOf(r),
			}, emit)
		})
	}
	if query.Get("fromSrc") == "" {
		return dockerapi.Invalid("give fromImage to pull an image, or fromSrc to import one")
	}
	header := http.Header{}
	if given := r.Header.Get("Content-Type"); given != "" {
		header.Set("Content-Type", given)
	}
	body := newUpload(w, r)
	return body.answer(stream(w, func(emit cluster.Emit) error {
		return i.cluster.ImportImage(r.Context(), cluster.ImportOptions{
			Query: query, Body: body, Length: r.ContentLength, Header: header, Version: dockerapi.VersionOf(r),
		}, emit)
	}))
}

func (i *Router) load(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	body := newUpload(w, r)
	return body.answer(stream(w, func(emit cluster.Emit) error {
		return i.cluster.LoadImages(r.Context(), cluster.LoadOptions{
			Query: r.URL.Query(), Quiet: dockerapi.Bool(r, "quiet"), Body: body, Version: dockerapi.VersionOf(r),
		}, emit)
	}))
}

// stream answers with a stream of progress. An error before its first line is
// a status, a later one is its last line.
func stream(w http.ResponseWriter, do func(cluster.Emit) error) error {
	started := false
	w.Header().Set("Content-Type", "application/json")
	emit := func(lines []byte) error {
		if !started {
			started = true
			w.WriteHeader(http.StatusOK)
		}
		if _, err := w.Write(lines); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	}
	err := do(emit)
	if err != nil && started {
		_ = emit(cluster.ErrorMessage(err)) // the client has gone, or reads it
		return nil
	}
	return err
}

const (
	// lastBytes is how long a Read that waits may go on after Close.
	lastBytes = 200 * time.Millisecond
	// parting is how long a client that still sends is listened to after its
	// answer. Were the connection closed on it the client would often find it
	// broken, and not read why.
	parting = 5 * time.Second
)

// upload is a request's body that may be read while the answer is written, and
// whose Close ends a Read that waits for the client.
type upload struct {
	w     http.ResponseWriter
	r     *http.Request
	whole atomic.Bool // all of it was read
	cut   atomic.Bool // Close was called before
}

func newUpload(w http.ResponseWriter, r *http.Request) *upload {
	_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 always is
	return &upload{w: w, r: r}
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.r.Body.Read(p)
	if err == io.EOF {
		u.whole.Store(true)
	}
	return n, err
}

// Close leaves the connection alone when the body was read whole: the next
// request may be on its way. A Read that waits is not ended at once, since no
// more of the body could be read after that; most return by themselves.
func (u *upload) Close() error {
	if u.whole.Load() || u.cut.Swap(true) {
		return nil
	}
	// The body's own Close would wait for the Read.
	return u.waitUntil(time.Now().Add(lastBytes))
}

func (u *upload) waitUntil(t time.Time) error {
	return http.NewResponseController(u.w).SetReadDeadline(t)
}

// answer gives err its status, and parts from a client of whose body not all
// was read. The server takes a Read that was cut for a client that has gone;
// this one is still there to be told why.
func (u *upload) answer(err error) error {
	if !u.cut.Load() {
		return err
	}
	if err != nil {
		dockerapi.WriteError(u.w, u.r.WithContext(context.WithoutCancel(u.r.Context())), err)
	}
	_ = http.NewResponseController(u.w).Flush()
	if u.waitUntil(time.Now().Add(parting)) != nil {
		return nil
	}
	// A client that has read its answer closes the connection, which ends this.
	if _, err := io.Copy(io.Discard, u.r.Body); err == nil {
		_ = u.waitUntil(time.Time{}) // the next request may come
	}
	return nil
}
