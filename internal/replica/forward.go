package replica

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/skep/skep/internal/rawstream"
)

const (
	dialTimeout = 5 * time.Second
	// idleTimeout is shorter than that of the primary's front door, so that it
	// does not close a connection on which a request has just been sent.
	idleTimeout = 90 * time.Second
	maxIdle     = 64
	maxHead     = 1 << 20 // bytes of an answer's header
	// continueTimeout is how long the primary may take until it wants a body.
	continueTimeout = time.Minute
)

func (h *Handler) newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         func(ctx context.Context, _, address string) (net.Conn, error) { return h.dial(ctx, address) },
		MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: idleTimeout,
		MaxResponseHeaderBytes: maxHead, ExpectContinueTimeout: continueTimeout,
		DisableCompression: true, // bytes are passed on as they are
	}
}

// dial connects to another manager. Its errors are of requests that were not
// sent.
func (h *Handler) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := h.cfg.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, unsentError{err}
	}
	return conn, nil
}

func isUnsent(err error) bool {
	_, unsent := errors.AsType[unsentError](err)
	return unsent
}

// outgoing is the request as the primary gets it.
func (h *Handler) outgoing(ctx context.Context, j *job, p *peer) *http.Request {
	u := *j.r.URL
	u.Scheme, u.Host, u.User = "http", p.address, nil // Dial knows of TLS
	out := &http.Request{
		Method: j.r.Method, URL: &u, Host: j.r.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: rawstream.EndToEnd(j.r.Header), Body: j.attempt(), ContentLength: j.r.ContentLength,
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // none of ours instead
	}
	out.Header.Set(forwardedBy, h.cfg.Advertise)
	return out.WithContext(ctx)
}

// forward has the primary answer an ordinary request. An error is returned only
// while nothing was answered.
func (h *Handler) forward(w http.ResponseWriter, j *job, p *peer) error {
	ctx, cancel := context.WithCancelCause(j.r.Context())
	defer cancel(nil)
	defer context.AfterFunc(p.ctx, func() { cancel(context.Cause(p.ctx)) })()
	out := h.outgoing(ctx, j, p)
	defer out.Body.Close()
	if j.body != nil {
		// The primary asks for the body when it acts on the request. Until then
		// another one can be asked.
		out.Header.Set("Expect", "100-continue")
	}
	answered := h.whileAhead(ctx, cancel, j, p)
	resp, err := h.transport.RoundTrip(out)
	answered()
	if err != nil {
		switch {
		case p.ctx.Err() != nil:
			return context.Cause(p.ctx)
		case errors.Is(context.Cause(ctx), errRelieved):
			out.Body.Close() // what unread says is certain from now on
			if j.unread() {
				return unsentError{errRelieved}
			}
			return errRelieved
		}
		return err
	}
	defer resp.Body.Close()
	if err := refusal(resp); err != nil {
		return err
	}
	passOn(w, resp)
	return nil
}

// errRelieved ends the wait for a manager in whose place another leads. What was
// not answered by then may be asked of that one, if it does no harm.
var errRelieved = errors.New("another manager has become the primary")

// whileAhead cancels a request which a manager has not answered when it loses
// its place to another, and that can be asked of the other: a manager that
// hangs would let it wait until it is given up. The function that it returns
// ends that, and must be called.
func (h *Handler) whileAhead(ctx context.Context, cancel context.CancelCauseFunc, j *job, p *peer) (answered func()) {
	if j.isOrder() && !j.unread() {
		return func() {}
	}
	done, end := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			changed := h.cfg.Election.Changed()
			if address, known := h.cfg.Election.Primary(); known && address != p.address {
				if !j.isOrder() || j.unread() {
					cancel(errRelieved)
				}
				return
			}
			select {
			case <-done.Done():
				return
			case <-changed:
			}
		}
	})
	return func() { end(); watching.Wait() }
}

// refusal is the error that stands for the answer of a manager which is not the
// primary.
func refusal(resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get(notPrimary) != "":
		return unsentError{errors.New("it is not the primary any more, or not yet")}
	case resp.StatusCode < http.StatusOK:
		return errors.New("it answered " + resp.Status + " to a request that is no upgrade")
	}
	return nil
}

// passOn copies an answer as it comes.
func passOn(w http.ResponseWriter, resp *http.Response) {
	header := w.Header()
	maps.Copy(header, rawstream.EndToEnd(resp.Header))
	rawstream.PassOn(w, resp, resp.Body)
	for name, values := range resp.Trailer {
		header[http.TrailerPrefix+name] = values
	}
}
