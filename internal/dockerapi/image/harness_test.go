package image_test

import (
	"bufio"
	"context"
	"encoding/json"
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
	"github.com/skep/skep/internal/dockerapi/image"
	"github.com/skep/skep/internal/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frontDoor is the image routes over fake engines, served.
type frontDoor struct {
	t       *testing.T
	url     string
	client  *http.Client
	engines []*enginetest.Engine
}

func open(t *testing.T, engines ...*enginetest.Engine) *frontDoor {
	t.Helper()
	return openWith(t, cluster.Config{}, engines...)
}

func openWith(t *testing.T, cfg cluster.Config, engines ...*enginetest.Engine) *frontDoor {
	t.Helper()
	return serve(t, enginetest.Cluster(t, cfg, engines...), engines...)
}

func serve(t *testing.T, c *cluster.Cluster, engines ...*enginetest.Engine) *frontDoor {
	t.Helper()
	server := httptest.NewServer(dockerapi.NewHandler(dockerapi.Options{
		Logger: slog.New(slog.DiscardHandler), APIVersion: c.APIVersion, Server: "skep",
	}, image.New(c)))
	t.Cleanup(server.Close)
	return &frontDoor{t, server.URL, server.Client(), engines}
}

func (d *frontDoor) do(ctx context.Context, method, path string, body io.Reader) *http.Response {
	d.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, d.url+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("X-Registry-Auth", "secret")
	resp, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp
}

// call sends a request and reads the whole answer.
func (d *frontDoor) call(method, path string, body io.Reader) (status int, answer string) {
	d.t.Helper()
	resp := d.do(d.t.Context(), method, path, body)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
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

// message is a line of a progress stream.
type message struct {
	Stream, Status, ID, Error string
	ProgressDetail            map[string]any
	ErrorDetail               struct{ Message string }
}

func messagesIn(t *testing.T, stream string) (all []message) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(stream))
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatalf("%v in %s", err, lines.Bytes())
		}
		all = append(all, m)
	}
	return all
}

// lastOf gives the last status of each node, and the error that ends the stream.
func lastOf(all []message) (status map[string]string, err string) {
	status = map[string]string{}
	for _, m := range all {
		if m.ID != "" {
			status[m.ID] = m.Status
		}
	}
	if n := len(all); n > 0 {
		err = all[n-1].ErrorDetail.Message
	}
	return status, err
}

func streamsIn(all []message) (out []string) {
	for _, m := range all {
		if m.Stream != "" {
			out = append(out, m.Stream)
		}
	}
	return out
}

// with gives the names of the engines that have an image.
func with(engines []*enginetest.Engine, name string) (names []string) {
	for _, e := range engines {
		if e.HasImage(name) {
			names = append(names, e.Name())
		}
	}
	return names
}

func wantNames(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// hangUp is a handler that breaks the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
