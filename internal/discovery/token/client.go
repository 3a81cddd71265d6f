package token

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/discovery"
)

const (
	// callTimeout is for one request, from the connection to the last byte.
	callTimeout = 10 * time.Second
	// maxList is the size of a list in bytes: its limit of addresses, each as
	// long as it can be.
	maxList = discovery.MaxEntries * 272
	// maxSaid is how much of a hub's error is told on.
	maxSaid = 300
)

// hub is the client of one hub. Its errors name the hub, never the token.
type hub struct {
	base   *url.URL
	client *http.Client
}

func newHub(base *url.URL, opts map[string]string) (*hub, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := opts[CAOption]; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", CAOption, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: %s holds no certificate in PEM form", CAOption, file)
		}
	}
	return &hub{base: base, client: &http.Client{
		Timeout: callTimeout,
		// A redirect could lead the token away from TLS, or to someone else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: callTimeout}).DialContext,
			TLSClientConfig:        config,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           2,
			MaxConnsPerHost:        4,
			MaxResponseHeaderBytes: 16 << 10,
			// A call comes once a heartbeat: a connection kept for longer would
			// only be found dead.
			IdleConnTimeout: 5 * time.Second,
		},
	}}, nil
}

// close ends connections that are kept; the next call opens a new one.
func (h *hub) close() { h.client.CloseIdleConnections() }

// call sends a request and gives the answer's body, if its status is good.
func (h *hub) call(ctx context.Context, method string, at *url.URL, body string, header http.Header) (status int, answer []byte, answerHeader http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, h.failed(err)
	}
	for key, values := range header {
		req.Header[key] = values
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return 0, nil, nil, h.failed(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	switch {
	case err != nil:
		return 0, nil, nil, h.failed(err)
	case len(answer) > maxList:
		return 0, nil, nil, h.failed(fmt.Errorf("its answer is longer than %d bytes", maxList))
	case resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusNotModified:
		return resp.StatusCode, nil, nil, h.failed(statusError(resp, answer))
	}
	return resp.StatusCode, answer, resp.Header, nil
}

// failed takes the URL out of err, which the HTTP client puts there: it holds
// the token.
func (h *hub) failed(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	return fmt.Errorf("hub %s: %w", h.base, err)
}

func statusError(resp *http.Response, body []byte) error {
	var kind error
	switch {
	case resp.StatusCode == http.StatusNotFound:
		kind = errdefs.ErrNotFound
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		kind = errdefs.ErrUnavailable
	case resp.StatusCode/100 == 3:
		return fmt.Errorf("it answers %s and a redirect, which is not followed: give the address that it leads to", resp.Status)
	default:
		kind = errdefs.ErrInvalidArgument
	}
	said := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, string(body[:min(len(body), maxSaid)]))
	if said = strings.TrimSpace(said); said == "" {
		said = "it does not say why"
	}
	return answerError{kind: kind, text: resp.Status + ": " + said}
}

// answerError is what a hub has said, and what kind of error that is.
type answerError struct {
	kind error
	text string
}

func (e answerError) Error() string { return e.text }
func (e answerError) Unwrap() error { return e.kind }

func (h *hub) clusterURL(token string, query url.Values) *url.URL {
	at := h.base.JoinPath("clusters", token)
	at.RawQuery = query.Encode()
	return at
}

// create asks for a new token.
func (h *hub) create(ctx context.Context) (string, error) {
	_, body, _, err := h.call(ctx, http.MethodPost, h.base.JoinPath("clusters"), "", nil)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(body))
	if err := checkToken(token); err != nil {
		return "", h.failed(errors.New("its answer is no token: is this the address of a skep hub?"))
	}
	return token, nil
}

// addresses is a list as a hub gives it, and its tag.
type addresses struct {
	list []string
	tag  string
}

// list asks for the addresses; before is what came last, which is also the
// answer if nothing has changed.
func (h *hub) list(ctx context.Context, token string, before addresses) (addresses, error) {
	header := http.Header{"Accept": {"application/json"}}
	if before.tag != "" {
		header.Set("If-None-Match", before.tag)
	}
	status, body, answered, err := h.call(ctx, http.MethodGet, h.clusterURL(token, nil), "", header)
	if err != nil {
		return addresses{}, err
	}
	if status == http.StatusNotModified && before.tag != "" {
		return before, nil
	}
	now := addresses{tag: answered.Get("ETag")}
	if err := json.Unmarshal(body, &now.list); err != nil {
		return addresses{}, h.failed(errors.New("its answer is no JSON array of addresses: is this the address of a skep hub?"))
	}
	return now, nil
}
