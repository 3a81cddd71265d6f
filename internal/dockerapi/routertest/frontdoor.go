// Package routertest serves routes on loopback and asks them, for the tests of
// the rooms below dockerapi.
package routertest

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/skep/skep/internal/dockerapi"
)

// FrontDoor is routes that are served until the end of a test.
type FrontDoor struct {
	URL    string
	Client *http.Client
	Header http.Header // goes with each request

	t *testing.T
}

// Open serves routes. Of o it sets what no test cares about.
func Open(t *testing.T, o dockerapi.Options, routers ...dockerapi.Router) *FrontDoor {
	t.Helper()
	o.Logger, o.Server = slog.New(slog.DiscardHandler), "skep"
	server := httptest.NewServer(dockerapi.NewHandler(o, routers...))
	t.Cleanup(server.Close)
	return &FrontDoor{URL: server.URL, Client: server.Client(), t: t}
}

// Do is Send for a request that does not fail. The caller reads the answer, and closes it.
func (d *FrontDoor) Do(ctx context.Context, method, path string, body io.Reader) *http.Response {
	d.t.Helper()
	resp, err := d.Send(ctx, method, path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp
}

// Send sends a request that may fail. It may be called from any goroutine.
func (d *FrontDoor) Send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, d.URL+path, body)
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, d.Header)
	return d.Client.Do(r)
}

// Call sends a request and reads the whole answer. It may be called from any
// goroutine.
func (d *FrontDoor) Call(method, path string, body io.Reader) (status int, answer string) {
	d.t.Helper()
	resp, err := d.Send(d.t.Context(), method, path, body)
	if err != nil {
		d.t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Error(err)
	}
	return resp.StatusCode, string(text)
}

// Want is Call for an answer that is known.
func (d *FrontDoor) Want(method, path string, body io.Reader, status int, answer string) {
	d.t.Helper()
	gotStatus, got := d.Call(method, path, body)
	if gotStatus != status || strings.TrimSpace(got) != answer {
		d.t.Errorf("%s %s\n got %d %s\nwant %d %s", method, path, gotStatus, strings.TrimSpace(got), status, answer)
	}
}
