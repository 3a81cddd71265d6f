package image_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/dockerapi/image"
	"github.com/skep/skep/internal/dockerapi/routertest"
	"github.com/skep/skep/internal/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frontDoor is the image routes over fake engines, served.
type frontDoor struct {
	*routertest.FrontDoor
	engines []*enginetest.Engine
}

func open(t *testing.T, engines ...*enginetest.Engine) *frontDoor {
	t.Helper()
	return openWith(t, cluster.Config{}, engines...)
}

func openWith(t *testing.T, cfg cluster.Config, engines ...*enginetest.Engine) *frontDoor {
	t.Helper()
	c := enginetest.Cluster(t, cfg, engines...)
	d := &frontDoor{routertest.Open(t, dockerapi.Options{APIVersion: c.APIVersion}, image.New(c)), engines}
	d.Header = http.Header{"X-Registry-Auth": {"secret"}}
	return d
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
