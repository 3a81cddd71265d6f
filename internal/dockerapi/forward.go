package dockerapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawstream"
)

// ForwardOptions change what is sent on.
type ForwardOptions struct {
	Query url.Values // instead of the request's
	// Body is sent instead of the request's; Length is its length, -1 if unknown.
	Body   io.Reader
	Length int64
	NoBody bool
	// Answered is called when the engine has answered with a status below 400,
	// before anything of it is passed on: what an operation changed can be
	// looked at, so that the user's next question sees it.
	Answered func(*http.Response)
	// BodyRead is called when the answer's body was read to its end, before the
	// user sees the end.
	BodyRead func()
	// HoldBody keeps a short body back until it was read whole, and BodyRead has
	// been called; the head is passed on at once.
	HoldBody bool
	// Refused answers instead of Upgrade when the engine has not agreed, and is
	// told why: it is for clients that read no answer but an upgrade.
	Refused func(why error)
}

// Forward sends a request to an engine under path, and passes its answer on as
// it comes. An error is returned only while nothing was answered yet.
func Forward(w http.ResponseWriter, r *http.Request, to *engine.Engine, path string, o ForwardOptions) error {
	resp, err := to.Do(r.Context(), forwarded(r, path, o))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < http.StatusOK {
		return fmt.Errorf("engine %s answered %s to a request that is no upgrade", to.Name(), resp.Status)
	}
	if o.Answered != nil && resp.StatusCode < 400 {
		o.Answered(resp)
	}
	passOn(w, resp, o)
	return nil
}

func forwarded(r *http.Request, path string, o ForwardOptions) engine.Request {
	out := engine.Request{
		Method: r.Method, Path: path, Query: o.Query, Header: rawstream.EndToEnd(r.Header),
		Body: r.Body, Length: r.ContentLength, Version: VersionOf(r),
	}
	if out.Query == nil {
		out.Query = r.URL.Query()
	}
	switch {
	case o.NoBody || o.Body == nil && r.ContentLength == 0:
		out.Body = nil
		out.Header.Del("Content-Type")
	case o.Body != nil:
		out.Body, out.Length = o.Body, o.Length
	}
	return out
}

// ours are the headers that speak of the server one is connected to.
func ours(name string) bool {
	switch name {
	case "Server", "Api-Version", "Ostype", "Docker-Experimental", "Date":
		return true
	}
	return false
}

func copyHeader(to, from http.Header) {
	for name, values := range rawstream.EndToEnd(from) {
		if !ours(name) {
			to[name] = values
		}
	}
}

// passOn copies an answer as it comes.
func passOn(w http.ResponseWriter, resp *http.Response, o ForwardOptions) {
	copyHeader(w.Header(), resp.Header)
	body := io.Reader(resp.Body)
	if o.HoldBody {
		body = &held{body: body}
	}
	if o.BodyRead != nil {
		body = &told{body, o.BodyRead}
	}
	rawstream.PassOn(w, resp, body)
}

// told is a body that tells of its end before its last part is passed on.
type told struct {
	io.Reader
	ended func()
}

func (t *told) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if err != nil {
		t.ended()
	}
	return n, err
}

// held is a body of which nothing can be read before its end has come, and
// whose last part comes with the end.
type held struct {
	body  io.Reader
	whole []byte
	err   error
}

func (h *held) Read(p []byte) (int, error) {
	if h.err == nil {
		if h.whole, h.err = engine.ReadBody(h.body); h.err == nil {
			h.err = io.EOF
		}
	}
	n := copy(p, h.whole)
	if h.whole = h.whole[n:]; len(h.whole) > 0 {
		return n, nil
	}
	return n, h.err
}

// upgradeTimeout is how long an engine may take to begin a stream.
const upgradeTimeout = time.Minute

// Upgrade forwards a request whose connection turns into a raw stream: attach,
// exec, and their web socket form. The user's connection is taken over only
// after the engine has agreed; until then errors are ordinary answers.
func Upgrade(w http.ResponseWriter, r *http.Request, to *engine.Engine, path string, o ForwardOptions) error {
	req := forwarded(r, path, o)
	for _, name := range []string{"Connection", "Upgrade"} {
		if values := r.Header[name]; values != nil {
			req.Header[name] = values
		}
	}
	// Not the request's context: it ends with a client's early end of input.
	wait, cancel := context.WithTimeout(rawstream.StopOf(r), upgradeTimeout)
	defer cancel()
	h, err := to.Hijack(wait, req)
	if err != nil {
		if o.Refused != nil {
			o.Refused(err)
			return nil
		}
		// Answered here: a client that has ended its input is not gone, though
		// the request's context says so.
		writeError(w, StatusOf(err), err.Error())
		return nil
	}
	defer h.Conn.Close()
	if !h.Upgraded {
		defer h.Response.Body.Close()
		stop := context.AfterFunc(rawstream.StopOf(r), func() { h.Conn.Close() })
		defer stop()
		if o.Refused != nil {
			late := context.AfterFunc(wait, func() { h.Conn.Close() })
			defer late()
			o.Refused(engine.ReadError(h.Response))
			return nil
		}
		passOn(w, h.Response, ForwardOptions{})
		return nil
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	// Deadlines of the HTTP server do not bind a stream.
	_ = conn.SetDeadline(time.Time{})
	if err := rawstream.WriteHead(conn, h.Response); err != nil {
		return nil
	}
	rawstream.Splice(rawstream.StopOf(r), conn, buffered.Reader, h.Conn, h.Reader)
	return nil
}
