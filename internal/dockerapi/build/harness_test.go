package build_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/dockerapi/build"
	"github.com/skep/skep/internal/dockerapi/image"
	"github.com/skep/skep/internal/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frontDoor is the routes of builds and of images over fake engines, served.
type frontDoor struct {
	t      *testing.T
	url    string
	client *http.Client
}

func open(t *testing.T, engines ...*enginetest.Engine) *frontDoor {
	t.Helper()
	return serve(t, enginetest.Cluster(t, cluster.Config{}, engines...))
}

func serve(t *testing.T, c *cluster.Cluster) *frontDoor {
	t.Helper()
	server := httptest.NewServer(dockerapi.NewHandler(dockerapi.Options{
		Logger: slog.New(slog.DiscardHandler), APIVersion: c.APIVersion, Server: "skep",
	}, build.New(c), image.New(c)))
	t.Cleanup(server.Close)
	return &frontDoor{t, server.URL, server.Client()}
}

// post sends a request whose answer is read by the caller, who closes it.
func (d *frontDoor) post(ctx context.Context, path string, body io.Reader) *http.Response {
	d.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "POST", d.url+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp
}

// call sends a request and reads the whole answer. It may be called from any
// goroutine.
func (d *frontDoor) call(method, path string, body io.Reader) (status int, answer string) {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, body)
	if err != nil {
		d.t.Error(err)
		return 0, ""
	}
	resp, err := d.client.Do(r)
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

// want is call for an answer that is known.
func (d *frontDoor) want(method, path string, body io.Reader, status int, answer string) {
	d.t.Helper()
	gotStatus, got := d.call(method, path, body)
	if gotStatus != status || strings.TrimSpace(got) != answer {
		d.t.Errorf("%s %s\n got %d %s\nwant %d %s", method, path, gotStatus, strings.TrimSpace(got), status, answer)
	}
}

func wantNames(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
