package volume_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/dockerapi/volume"
)

// backend answers with what it was asked; a ref "bad" is refused.
type backend struct{ asked string }

func (b *backend) note(ref, format string, args ...any) error {
	b.asked = fmt.Sprintf(format, args...)
	if ref == "bad" {
		return errdefs.ErrConflict.WithMessage("volume is in use")
	}
	return nil
}

func (b *backend) ListVolumes(f apifilter.Args) ([]byte, error) {
	return []byte(`{"Volumes":[]}`), b.note("", "list %s", f)
}

func (b *backend) InspectVolume(_ context.Context, ref string, v apiversion.Version) ([]byte, error) {
	return []byte(`{"inspect":1}`), b.note(ref, "inspect %s %s", ref, v)
}

func (b *backend) CreateVolume(_ context.Context, body []byte, v apiversion.Version) ([]byte, error) {
	return []byte(`{"Name":"x"}`), b.note("", "create %s %s", body, v)
}

func (b *backend) RemoveVolume(_ context.Context, ref string, force bool) error {
	return b.note(ref, "remove %s %t", ref, force)
}

func (b *backend) PruneVolumes(_ context.Context, f apifilter.Args, v apiversion.Version) ([]byte, error) {
	return []byte(`{"VolumesDeleted":[]}`), b.note("", "prune %s %s", f, v)
}

func TestRoutes(t *testing.T) {
	filters := "?filters=" + url.QueryEscape(`{"all":{"1":true}}`)
	for _, test := range []struct {
		method, path, body string
		status             int
		asked, answer      string
	}{
		{"GET", "/volumes", "", 200, "list ", `{"Volumes":[]}`},
		{"GET", "/volumes?filters=[", "", 400, "", `{"message":"invalid filter"}` + "\n"},
		{"GET", "/v1.41/volumes/n1/data", "", 200, "inspect n1/data 1.41", `{"inspect":1}`},
		{"GET", "/volumes/bad", "", 409, "inspect bad 1.51", `{"message":"volume is in use"}` + "\n"},
		{"POST", "/volumes/create", `{"Name":"x"}`, 201, `create {"Name":"x"} 1.51`, `{"Name":"x"}`},
		{"POST", "/volumes/create", "", 201, "create {} 1.51", `{"Name":"x"}`},
		{"POST", "/v1.42/volumes/prune" + filters, "", 200, `prune {"all":{"1":true}} 1.42`, `{"VolumesDeleted":[]}`},
		{"PUT", "/volumes/x?version=1", `{}`, 501, "", `{"message":"only cluster volumes can be updated, and they need a swarm: remove the volume and create it anew"}` + "\n"},
		{"DELETE", "/volumes/n1/data", "", 204, "remove n1/data false", ""},
		{"DELETE", "/volumes/data?force=1", "", 204, "remove data true", ""},
		{"DELETE", "/volumes/bad?force=no", "", 409, "remove bad false", `{"message":"volume is in use"}` + "\n"},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			b := new(backend)
			h := dockerapi.NewHandler(dockerapi.Options{
				Logger: slog.New(slog.DiscardHandler), APIVersion: func() apiversion.Version { return apiversion.Max },
			}, volume.New(b))
			r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
			if test.body != "" {
				r.Header.Set("Content-Type", "application/json")
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			body, _ := io.ReadAll(w.Body)
			if w.Code != test.status || b.asked != test.asked || string(body) != test.answer {
				t.Errorf("status %d, asked %q, answer %q", w.Code, b.asked, body)
			}
		})
	}
}
