package build_test

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/dockerapi/build"
	"github.com/skep/skep/internal/dockerapi/image"
	"github.com/skep/skep/internal/dockerapi/routertest"
	"github.com/skep/skep/internal/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frontDoor is the routes of builds and of images over fake engines, served.
type frontDoor struct {
	*routertest.FrontDoor
	t *testing.T
}

func open(t *testing.T, engines ...*enginetest.Engine) *frontDoor {
	t.Helper()
	return serve(t, enginetest.Cluster(t, cluster.Config{}, engines...))
}

func serve(t *testing.T, c *cluster.Cluster) *frontDoor {
	t.Helper()
	return &frontDoor{routertest.Open(t, dockerapi.Options{APIVersion: c.APIVersion}, build.New(c), image.New(c)), t}
}

func wantNames(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
