package consul

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// defaultLargest is more than a list of 50,000 engines.
	defaultLargest = 32 << 20
	// largestHeader is far more than Consul sends.
	largestHeader = 64 << 10
)

// newTransport is the store's own, so that Close can end its connections and
// nobody else's. There is no time-out for an answer's header: a blocking query
// answers when it likes, and every request has a context with an end.
func newTransport(cfg *api.Config, o Options) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            o.Dial,
		TLSHandshakeTimeout:    defaultTimeout,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: largestHeader,
	}
	if t.DialContext == nil {
		// Keep-alives find an agent that is gone while a blocking query waits.
		t.DialContext = (&net.Dialer{Timeout: defaultTimeout, KeepAlive: 10 * time.Second}).DialContext
	}
	switch {
	case o.TLS != nil:
		t.TLSClientConfig = o.TLS.Clone()
	case cfg.Scheme == "https":
		fromEnv, err := api.SetupTLSConfig(&cfg.TLSConfig)
		if err != nil {
			return nil, fmt.Errorf("use the certificates that CONSUL_CACERT, CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY name: %w", err)
		}
		t.TLSClientConfig = fromEnv
	}
	return t, nil
}

// newHTTPClient follows no redirects: Consul sends none, and a redirect would
// carry the token to whomever it names.
func newHTTPClient(t *http.Transport, largest int) *http.Client {
	return &http.Client{
		Transport:     boundedTransport{t, largest},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// boundedTransport ends bodies that are too large with an error.
type boundedTransport struct {
	next    http.RoundTripper
	largest int
}

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, largest: t.largest, left: t.largest}
	return resp, nil
}

// boundedBody gives left more bytes at most.
type boundedBody struct {
	io.ReadCloser
	largest, left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is larger than %d bytes, which no list of keys of ours is: check the prefix", b.largest)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
