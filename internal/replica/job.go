package replica

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/skep/skep/internal/rawstream"
)

const (
	// forwardedBy names the manager that has sent a request on. Who gets one and
	// does not lead does not send it on again: two managers that take each other
	// for the primary must not play ball with it.
	forwardedBy = "Skep-Forwarded-By"
	// notPrimary is set on answers that say: nothing of this was done here.
	notPrimary = "Skep-Not-Primary"
	// maxKept is how much of a body is kept in memory to be sent again on an
	// upgraded connection. What starts an exec is much smaller.
	maxKept = 64 << 10
)

// job is a request on its way to the primary.
type job struct {
	r       *http.Request
	upgrade bool // its connection turns into a raw stream
	body    *onceBody
	kept    []byte // the body of an upgrade, instead of body
}

func newJob(r *http.Request) *job {
	// A copy: the server looks at the body of its own to know what is left of it.
	r = r.WithContext(r.Context())
	j := &job{r: r, upgrade: asksForUpgrade(r)}
	if r.ContentLength == 0 || r.Body == nil {
		r.Body = http.NoBody
		return j
	}
	j.body = &onceBody{ReadCloser: r.Body}
	r.Body = j.body
	return j
}

// asksForUpgrade: clients ask with a header, and old ones attach without.
func asksForUpgrade(r *http.Request) bool {
	for _, list := range r.Header.Values("Connection") {
		for name := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "upgrade") {
				return true
			}
		}
	}
	path := withoutVersion(r.URL.Path)
	return r.Method == http.MethodPost && strings.HasPrefix(path, "/containers/") && strings.HasSuffix(path, "/attach")
}

// ended is done when nobody waits for the answer any more, or this manager stops
// and does not let it come. The request's own context says nothing of an upgrade:
// it ends with the end of the client's input, and such a client may still read.
func (j *job) ended() context.Context {
	if j.upgrade {
		return rawstream.StopOf(j.r)
	}
	return j.r.Context()
}

// isOrder tells whether something may change by the request.
func (j *job) isOrder() bool {
	return j.upgrade || j.r.Method != http.MethodGet && j.r.Method != http.MethodHead
}

// answeredByAny tells whether every manager can answer: it is a question, of the
// engines and not of what this or that manager has begun. What another manager
// has sent on is not for us to answer.
func (j *job) answeredByAny() bool {
	return !j.isOrder() && !j.forwarded() && !strings.HasPrefix(withoutVersion(j.r.URL.Path), "/exec/")
}

// unread tells whether nothing was done for want of the body: it says what is to
// be created, and nobody has asked for it yet.
func (j *job) unread() bool {
	return j.body != nil && !j.body.read.Load() && !j.upgrade && j.r.Method == http.MethodPost && strings.HasSuffix(j.r.URL.Path, "/create")
}

func (j *job) forwarded() bool { return len(j.r.Header.Values(forwardedBy)) > 0 }

// unsentError is an error after which the request is as new: nothing of it has
// reached anyone who would carry it out.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// canRepeat tells whether the request may be sent once more after err. A
// question may even if it was received; an order never.
func (j *job) canRepeat(err error) bool {
	if j.body != nil && j.body.read.Load() || j.ended().Err() != nil || errors.Is(err, errStopping) {
		return false
	}
	if _, stranger := errors.AsType[*tls.CertificateVerificationError](err); stranger {
		return false // waiting makes no better certificate
	}
	if isUnsent(err) {
		return true
	}
	return !j.isOrder()
}

// keep reads the body of an upgrade into memory if it is short, so that a try
// does not use it up. Others are asked for only when the primary wants them.
func (j *job) keep() error {
	if !j.upgrade || j.body == nil || j.r.ContentLength < 0 || j.r.ContentLength > maxKept {
		return nil
	}
	kept, err := io.ReadAll(j.body)
	if err != nil {
		return err
	}
	j.kept, j.body = kept, nil
	j.r.Body = io.NopCloser(bytes.NewReader(kept))
	return nil
}

// attempt is the request's body for one try.
func (j *job) attempt() io.ReadCloser {
	switch {
	case j.kept != nil:
		return io.NopCloser(bytes.NewReader(j.kept))
	case j.body != nil:
		return &attemptBody{of: j.body}
	default:
		return http.NoBody
	}
}

// onceBody is a request's body that knows whether anything was taken from it.
type onceBody struct {
	io.ReadCloser
	read atomic.Bool
}

func (b *onceBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.ReadCloser.Read(p)
}

// attemptBody is a body as one try sees it. Closing it leaves the body open, and
// no read begins any more: whether anything was taken is certain then. A read
// under way is not waited for, it may be the client that is slow.
type attemptBody struct {
	of   *onceBody
	mu   sync.Mutex
	done bool // guarded by mu
}

func (b *attemptBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.done {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.of.read.Store(true)
	b.mu.Unlock()
	return b.of.Read(p)
}

func (b *attemptBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	return nil
}
