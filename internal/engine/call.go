package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/skep/skep/internal/apiversion"
)

// Request is one call of an engine's API.
type Request struct {
	Method string
	Path   string // without a version, as in "/containers/json"
	Query  url.Values
	Header http.Header
	Body   io.Reader
	// Length of Body in bytes; -1 when unknown. Ignored without a Body.
	Length int64
	// Version asked for; the zero value means the newest both sides know. It
	// is moved into the range the engine understands.
	Version apiversion.Version
	// Unversioned sends the request without a version. So it is with what tells
	// who the engine is, and whether it is there: after an upgrade it may refuse
	// every version that it knew before.
	Unversioned bool
}

// maxAnswer bounds the answers that skep itself reads into memory.
const maxAnswer = 256 << 20

// httpRequest builds the request as it goes over the wire.
func (e *Engine) httpRequest(ctx context.Context, r Request) (*http.Request, error) {
	path := r.Path
	if v := e.version(r.Version); !v.IsZero() && !r.Unversioned {
		path = "/v" + v.String() + path
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, requestURL(path, r.Query.Encode()).String(), r.Body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if r.Body != nil {
		req.ContentLength = r.Length
	}
	return req, nil
}

// version moves want into what the engine understands. Before the engine is
// known it returns zero: the path then has no version, which every engine takes.
func (e *Engine) version(want apiversion.Version) apiversion.Version {
	id := e.Identity()
	if id == nil {
		return apiversion.Version{}
	}
	high := id.API
	if apiversion.Max.Less(high) {
		high = apiversion.Max
	}
	if want.IsZero() {
		want = high
	}
	// An engine whose oldest version is newer than what we know is still
	// asked in its oldest: most of it will be understood.
	return want.Clamp(id.MinAPI, maxVersion(high, id.MinAPI))
}

func maxVersion(a, b apiversion.Version) apiversion.Version {
	if a.Less(b) {
		return b
	}
	return a
}

// Do sends a request and returns the engine's answer, whatever its status.
// The caller closes the body; ctx bounds the whole exchange. While the answer
// is awaited the call ends early if the engine stops answering its probes; once
// it has begun, only ctx and the connection end it. An error is an
// *UnreachableError, or ctx's own.
func (e *Engine) Do(ctx context.Context, r Request) (*http.Response, error) {
	resp, err := e.send(ctx, r)
	return resp, e.suspect(err)
}

// suspect lets the prober find out why a request did not reach the engine. The
// failure alone is no verdict, else many requests at once would condemn an
// engine in an instant. The engine's own calls do not come here: probes would
// bring forward the next probe, and attempts to connect the next attempt.
func (e *Engine) suspect(err error) error {
	var unreachable *UnreachableError
	if errors.As(err, &unreachable) && !errors.Is(err, errStoppedAnswering) {
		e.Poke()
	}
	return err
}

func (e *Engine) send(ctx context.Context, r Request) (*http.Response, error) {
	if err := pass(ctx, r.Method); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := e.httpRequest(ctx, r)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	stop := context.AfterFunc(e.aliveContext(), func() { cancel(errStoppedAnswering) })
	resp, err := e.transport.RoundTrip(req)
	stop()
	if err != nil {
		err = e.callError(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &bodyWithCancel{resp.Body, cancel}
	return resp, nil
}

// callError classifies a failed round trip: the caller's own cancellation
// stays what it is, all else means that the engine was not reached.
func (e *Engine) callError(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.Canceled):
		return cause
	case cause != nil:
		err = cause
	}
	return &UnreachableError{Name: e.Name(), Address: e.addr.String(), Err: err}
}

type bodyWithCancel struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *bodyWithCancel) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// Call sends a request whose answer is read whole. in, when not nil, is sent as
// JSON; out, when not nil, is decoded from JSON, or gets the bytes themselves
// if it is a *[]byte or a *bytes.Buffer. A status of 400 and more comes back as a *StatusError.
func (e *Engine) Call(ctx context.Context, r Request, in, out any) error {
	return e.suspect(e.call(ctx, r, in, out))
}

func (e *Engine) call(ctx context.Context, r Request, in, out any) error {
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		r.Body, r.Length = bytes.NewReader(body), int64(len(body))
		r.Header = r.Header.Clone()
		if r.Header == nil {
			r.Header = http.Header{}
		}
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := e.send(ctx, r)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 400 {
		return ReadError(resp)
	}
	defer resp.Body.Close()
	answer, keep := out.(*bytes.Buffer)
	if !keep {
		answer = e.cfg.Shared.bodies.get()
		defer e.cfg.Shared.bodies.put(answer)
	}
	if err := readInto(answer, resp.Body, maxAnswer); err != nil {
		return e.callError(ctx, fmt.Errorf("read answer to %s %s: %w", r.Method, r.Path, err))
	}
	switch out := out.(type) {
	case nil, *bytes.Buffer:
		return nil
	case *[]byte:
		*out = bytes.Clone(answer.Bytes())
		return nil
	default:
		if err := json.Unmarshal(answer.Bytes(), out); err != nil {
			return fmt.Errorf("engine %s: answer to %s %s: %w", e.Name(), r.Method, r.Path, err)
		}
		return nil
	}
}

// ReadBody reads an answer of at most 256 MiB whole.
func ReadBody(r io.Reader) ([]byte, error) { return readAtMost(r, maxAnswer) }

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		return nil, tooLarge(limit)
	}
	return body, err
}

// readInto is readAtMost into a buffer.
func readInto(buf *bytes.Buffer, r io.Reader, limit int64) error {
	n, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		return tooLarge(limit)
	}
	return err
}

func tooLarge(limit int64) error { return fmt.Errorf("answer is larger than %d MiB", limit>>20) }

// get is the engine's own GET.
func (e *Engine) get(ctx context.Context, path string, query url.Values, out any) error {
	return e.call(ctx, Request{Method: http.MethodGet, Path: path, Query: query}, nil, out)
}

// getUnversioned is get for what must be answered whatever the versions.
func (e *Engine) getUnversioned(ctx context.Context, path string, out any) error {
	return e.call(ctx, Request{Method: http.MethodGet, Path: path, Unversioned: true}, nil, out)
}
