package dockerapi

import (
	"bufio"
	"context"
	"mime"
	"net"
	"net/http"
	"strconv"
)

// authorizedAnswer holds an answer back until the plugins have seen it.
//
// A short one they see whole. One that is flushed as it comes, or that is too
// long to be held, is a stream: of it they see the status and the headers,
// before anything of it leaves. A connection that was taken over is no answer
// any more; it was authorized as a request.
type authorizedAnswer struct {
	w          http.ResponseWriter
	authorizer *Authorizer
	question   *question
	ctx        context.Context // of the request

	status int
	held   []byte
	state  answerState
}

type answerState int

const (
	holding answerState = iota
	passing             // the plugins have allowed it
	refused             // they have not; what comes is dropped
	taken               // the connection is somebody else's now
)

var _ http.Hijacker = (*authorizedAnswer)(nil)

func (a *authorizedAnswer) Header() http.Header { return a.w.Header() }

func (a *authorizedAnswer) WriteHeader(status int) {
	switch {
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		a.w.WriteHeader(status) // "go on", not an answer
	case a.state == holding && a.status == 0:
		a.status = status
	}
}

func (a *authorizedAnswer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.state == holding && len(a.held)+len(p) > maxAuthorized {
		a.pass(nil)
	}
	switch a.state {
	case holding:
		a.held = append(a.held, p...)
		return len(p), nil
	case passing:
		return a.w.Write(p)
	case taken:
		return 0, http.ErrHijacked
	default:
		return 0, http.ErrAbortHandler
	}
}

// FlushError begins a stream, unless the answer is JSON of a length that can be
// held: forwarding flushes those as well. Such a one leaves when all of it is
// here: who flushes may have more to do, for which nobody needs to wait.
func (a *authorizedAnswer) FlushError() error {
	if a.state == holding {
		switch length, short := a.short(); {
		case !short:
			a.pass(nil)
		case int64(len(a.held)) < length:
			return nil
		default:
			a.pass(a.held)
		}
	}
	if a.state != passing {
		return nil
	}
	return http.NewResponseController(a.w).Flush()
}

func (a *authorizedAnswer) Flush() { _ = a.FlushError() }

// short says that the whole answer will come, and soon, and how long it is.
func (a *authorizedAnswer) short() (length int64, ok bool) {
	length, err := strconv.ParseInt(a.Header().Get("Content-Length"), 10, 64)
	return length, err == nil && length <= maxAuthorized && a.isJSON()
}

func (a *authorizedAnswer) isJSON() bool {
	kind, _, err := mime.ParseMediaType(a.Header().Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// Hijack gives the connection away; the request was authorized for that.
func (a *authorizedAnswer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.state != holding {
		return nil, nil, http.ErrHijacked
	}
	conn, rw, err := http.NewResponseController(a.w).Hijack()
	if err == nil {
		a.state = taken
	}
	return conn, rw, err
}

// Unwrap is for the deadlines of http.ResponseController.
func (a *authorizedAnswer) Unwrap() http.ResponseWriter { return a.w }

// end is called when the handler has returned.
func (a *authorizedAnswer) end() {
	if a.state != holding {
		return
	}
	if a.isJSON() {
		a.pass(a.held)
	} else {
		a.pass(nil)
	}
}

// pass asks the plugins, shows them body, and lets out what is held or the
// refusal.
func (a *authorizedAnswer) pass(body []byte) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.question.ResponseStatusCode = a.status
	a.question.ResponseHeaders = shownHeaders(a.Header())
	a.question.ResponseBody = body
	if err := a.authorizer.ask(a.ctx, "AuthZPlugin.AuthZRes", a.question); err != nil {
		a.state, a.held = refused, nil
		for name := range a.Header() {
			if !ours(name) && name != "X-Request-Id" {
				a.Header().Del(name)
			}
		}
		a.authorizer.refused(a.w, a.question, err)
		return
	}
	a.state = passing
	a.w.WriteHeader(a.status)
	if len(a.held) > 0 {
		_, _ = a.w.Write(a.held) // the client has gone; there is nobody to tell
		a.held = nil
	}
}
