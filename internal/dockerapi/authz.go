package dockerapi

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	// maxAuthorized bounds the bodies that plugins are shown.
	maxAuthorized = 1 << 20
	// maxDrained is what is read, and thrown away, of a body that is too long.
	maxDrained = 16 << 20
	// authorizedBodyTimeout is how long a client may take to send such a body.
	authorizedBodyTimeout = time.Minute
)

// Authorizer asks plugins, one after the other, about each request and about
// its answer. Only what all of them allow passes; a plugin that cannot be asked
// has not allowed it.
//
// What plugins see is what routes see: the path is decoded and cleaned before
// both, and a body that was shown is the one that is forwarded, byte by byte.
type Authorizer struct {
	plugins []*Plugin
	logger  *slog.Logger
}

// NewAuthorizer asks the plugins in their order.
func NewAuthorizer(logger *slog.Logger, plugins ...*Plugin) *Authorizer {
	return &Authorizer{plugins: plugins, logger: logger}
}

// Close frees the connections to the plugins.
func (a *Authorizer) Close() {
	for _, p := range a.plugins {
		p.Close()
	}
}

// question is what plugins are told: of a request, and once more with its
// answer. The names are Docker's.
type question struct {
	User                    string            `json:"User,omitempty"`
	UserAuthNMethod         string            `json:"UserAuthNMethod,omitempty"`
	RequestMethod           string            `json:"RequestMethod,omitempty"`
	RequestURI              string            `json:"RequestUri,omitempty"`
	RequestBody             []byte            `json:"RequestBody,omitempty"`
	RequestHeaders          map[string]string `json:"RequestHeaders,omitempty"`
	RequestPeerCertificates [][]byte          `json:"RequestPeerCertificates,omitempty"` // PEM, which JSON carries in base64
	ResponseStatusCode      int               `json:"ResponseStatusCode,omitempty"`
	ResponseBody            []byte            `json:"ResponseBody,omitempty"`
	ResponseHeaders         map[string]string `json:"ResponseHeaders,omitempty"`
}

// refusal is why a request goes no further, with its status.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return r.message }

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// wrap puts the plugins in front of next.
func (a *Authorizer) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, q, err := a.read(w, r)
		if err == nil {
			err = a.ask(r.Context(), "AuthZPlugin.AuthZReq", q)
		}
		if err != nil {
			a.refused(w, q, err)
			return
		}
		answer := &authorizedAnswer{w: w, authorizer: a, question: q, ctx: r.Context()}
		next.ServeHTTP(answer, r)
		answer.end()
	})
}

func (a *Authorizer) refused(w http.ResponseWriter, q *question, err *refusal) {
	a.logger.Warn("request not authorized", "user", q.User, "method", q.RequestMethod, "reason", err.message)
	writeError(w, err.status, err.message)
}

// read makes of a request the one that is forwarded, and what plugins are told
// of it. The question is never nil.
func (a *Authorizer) read(w http.ResponseWriter, r *http.Request) (*http.Request, *question, *refusal) {
	q := &question{RequestMethod: r.Method, RequestHeaders: shownHeaders(r.Header)}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		q.User, q.UserAuthNMethod = r.TLS.PeerCertificates[0].Subject.CommonName, "TLS"
		for _, cert := range r.TLS.PeerCertificates {
			q.RequestPeerCertificates = append(q.RequestPeerCertificates, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
		}
	}
	path, err := cleanPath(r.URL.Path)
	if err != nil {
		return r, q, err
	}
	u := *r.URL
	u.Path, u.RawPath = path, ""
	q.RequestURI = (&url.URL{Path: path, RawQuery: u.RawQuery, ForceQuery: u.ForceQuery}).RequestURI()
	r = r.Clone(r.Context())
	r.URL, r.RequestURI = &u, q.RequestURI
	if len(r.Header.Values("Content-Type")) > 1 {
		return r, q, refuse(http.StatusBadRequest, "a request has one Content-Type header, this one has more")
	}
	body, err := authorizedBody(w, r)
	q.RequestBody = body
	return r, q, err
}

// cleanPath gives the one spelling of a path: without empty segments. A path
// that leads back up is refused: engines and plugins read it differently.
func cleanPath(path string) (string, *refusal) {
	if !strings.HasPrefix(path, "/") {
		if path == "*" {
			return path, nil
		}
		return "", refuse(http.StatusBadRequest, "the path of a request begins with a slash")
	}
	segments := strings.Split(path, "/")
	kept := segments[:0]
	for i, s := range segments {
		if s == "." || s == ".." {
			return "", refuse(http.StatusBadRequest, "a path with the segment %q cannot be authorized: write it without", s)
		}
		if s != "" || i == len(segments)-1 {
			kept = append(kept, s)
		}
	}
	clean := "/" + strings.Join(kept, "/")
	return clean, nil
}

// rawBodies are the paths whose bodies are archives or streams, which Docker
// does not show to plugins; so is the password that /auth carries. Any other
// body has to be JSON, and is shown.
var rawBodies = regexp.MustCompile(`^(/v[0-9.]+)?(/auth|/build|/session|/grpc|/images/load|/images/create|/containers/.+/(archive|attach))$`)

// authorizedBody reads the part of a request's body that plugins are shown, and
// puts it back for those who come after.
func authorizedBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil, nil
	}
	kind, _, kindErr := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isJSON := kindErr == nil && kind == "application/json"
	raw := rawBodies.MatchString(r.URL.Path)
	// The password that /auth carries is JSON, and none of a plugin's business.
	if raw && (!isJSON || strings.HasSuffix(r.URL.Path, "/auth")) {
		return nil, nil
	}
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(authorizedBodyTimeout))
	defer func() { _ = deadline.SetReadDeadline(time.Time{}) }()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAuthorized+1))
	switch {
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "authorization denied: the request's body cannot be read: %v", err)
	case len(body) > maxAuthorized:
		// A client that is still sending does not hear why it is refused.
		_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
		return nil, refuse(http.StatusForbidden, "authorization denied: the request's body is larger than the %d bytes that authorization plugins can be shown", maxAuthorized)
	case len(body) > 0 && !isJSON:
		return nil, refuse(http.StatusBadRequest, "authorization denied: unsupported Content-Type header (%s): must be 'application/json', or authorization plugins are not shown the body", r.Header.Get("Content-Type"))
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if len(body) == 0 {
		r.Body = http.NoBody
	}
	return body, nil
}

// shownHeaders are the headers that plugins see: without credentials.
func shownHeaders(h http.Header) map[string]string {
	shown := make(map[string]string, len(h))
	for name, values := range h {
		switch http.CanonicalHeaderKey(name) {
		case "Authorization", "X-Registry-Config", "X-Registry-Auth":
			continue
		}
		if len(values) > 0 {
			shown[name] = values[len(values)-1]
		}
	}
	return shown
}

// ask puts a question to all plugins, until one does not allow it.
func (a *Authorizer) ask(ctx context.Context, method string, q *question) *refusal {
	// A client that has ended its input still waits for the answer, though its
	// context is done. The plugin's own time bounds the question.
	ctx = context.WithoutCancel(ctx)
	body, err := json.Marshal(q)
	if err != nil {
		return refuse(http.StatusInternalServerError, "authorization: %v", err)
	}
	for _, p := range a.plugins {
		var verdict struct {
			Allow bool
			Msg   string
			Err   string
		}
		err := p.call(ctx, method, body, &verdict)
		if err == nil && verdict.Err != "" {
			err = errors.New(verdict.Err)
		}
		switch {
		case err != nil:
			return refuse(http.StatusInternalServerError, "plugin %s failed with error: %s: %v", p.name, method, err)
		case !verdict.Allow:
			return refuse(http.StatusForbidden, "authorization denied by plugin %s: %s", p.name, verdict.Msg)
		}
	}
	return nil
}
