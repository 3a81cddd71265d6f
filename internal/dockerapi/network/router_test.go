package network_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/dockerapi/network"
)

// backend answers with what it was asked; a ref "bad" is refused.
type backend struct{ asked string }

func (b *backend) note(ref, format string, args ...any) error {
	b.asked = fmt.Sprintf(format, args...)
	if ref == "bad" {
		return errdefs.ErrConflict.WithMessage("network bad is in use")
	}
	return nil
}

func (b *backend) ListNetworks(f apifilter.Args) ([]byte, error) {
	return []byte(`["list"]`), b.note("", "list %s", f)
}

func (b *backend) InspectNetwork(_ context.Context, ref string, q url.Values, v apiversion.Version) ([]byte, error) {
	return []byte(`{"inspect":1}`), b.note(ref, "inspect %s %s %s", ref, q.Encode(), v)
}

func (b *backend) CreateNetwork(_ context.Context, body []byte, v apiversion.Version) ([]byte, error) {
	return []byte(`{"Id":"1"}`), b.note("", "create %s %s", body, v)
}

func (b *backend) ConnectNetwork(_ context.Context, ref string, body []byte, v apiversion.Version) error {
	return b.note(ref, "connect %s %s %s", ref, body, v)
}

func (b *backend) DisconnectNetwork(_ context.Context, ref string, body []byte, v apiversion.Version) error {
	return b.note(ref, "disconnect %s %s %s", ref, body, v)
}

func (b *backend) RemoveNetwork(_ context.Context, ref string) error {
	return b.note(ref, "remove %s", ref)
}

func (b *backend) PruneNetworks(_ context.Context, f apifilter.Args) ([]byte, error) {
	return []byte(`{"NetworksDeleted":[]}`), b.note("", "prune %s", f)
}

func TestRoutes(t *testing.T) {
	filters := "?filters=" + url.QueryEscape(`{"name":["a"]}`)
	for _, test := range []struct {
		method, path, body string
		status             int
		asked, answer      string
	}{
		{"GET", "/networks", "", 200, "list ", `["list"]`},
		{"GET", "/networks/", "", 200, "list ", `["list"]`},
		{"GET", "/v1.41/networks" + filters, "", 200, `list {"name":{"a":true}}`, `["list"]`},
		{"GET", "/networks?filters=x", "", 400, "", `{"message":"invalid filter"}` + "\n"},
		{"GET", "/v1.41/networks/n1/net?verbose=true", "", 200, "inspect n1/net verbose=true 1.41", `{"inspect":1}`},
		{"GET", "/networks/bad", "", 409, "inspect bad  1.51", `{"message":"network bad is in use"}` + "\n"},
		{"POST", "/networks/create", `{"Name":"x"}`, 201, `create {"Name":"x"} 1.51`, `{"Id":"1"}`},
		{"POST", "/networks/create", "", 400, "", `{"message":"invalid JSON: got EOF while reading request body"}` + "\n"},
		{"POST", "/networks/n1/net/connect", `{"Container":"c"}`, 200, `connect n1/net {"Container":"c"} 1.51`, ""},
		{"POST", "/networks/net/disconnect", `{"Container":"c"}`, 200, `disconnect net {"Container":"c"} 1.51`, ""},
		{"POST", "/networks/net/disconnect", "", 400, "", `{"message":"invalid JSON: got EOF while reading request body"}` + "\n"},
		{"POST", "/networks/bad/connect", `{}`, 409, `connect bad {} 1.51`, `{"message":"network bad is in use"}` + "\n"},
		{"POST", "/networks/prune" + filters, "", 200, `prune {"name":{"a":true}}`, `{"NetworksDeleted":[]}`},
		{"DELETE", "/networks/n1/net", "", 204, "remove n1/net", ""},
		{"DELETE", "/networks/bad", "", 409, "remove bad", `{"message":"network bad is in use"}` + "\n"},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			b := new(backend)
			h := dockerapi.NewHandler(dockerapi.Options{
				Logger: slog.New(slog.DiscardHandler), APIVersion: func() apiversion.Version { return apiversion.Max },
			}, network.New(b))
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
			if w.Code < http.StatusBadRequest && test.answer != "" && w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", w.Header().Get("Content-Type"))
			}
		})
	}
}
