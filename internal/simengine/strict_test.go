package simengine_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/moby/moby/api/types/common"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"

	"github.com/skep/skep/internal/simengine"
)

// Every field of every answer is one that the API has, with its type.
func TestAnswers_haveNoFieldThatTheAPIDoesNotKnow(t *testing.T) {
	e := simengine.New(simengine.Config{Name: "sim", Containers: 1, Labels: []string{"a=b"}})
	for _, tc := range []struct {
		name, method, path, query, body string
		status                          int
		into                            any
	}{
		{"create", "POST", "/containers/create", "name=web", `{"Image":"busybox","Labels":{"a":"b"},"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"8080"}]}}}`, http.StatusCreated, &container.CreateResponse{}},
		{"start", "POST", "/containers/web/start", "", "", http.StatusNoContent, nil},
		{"list", "GET", "/containers/json", "", "", http.StatusOK, &[]container.Summary{}},
		{"inspect", "GET", "/containers/web/json", "", "", http.StatusOK, &container.InspectResponse{}},
		{"inspect of the first", "GET", "/containers/sim-c0/json", "", "", http.StatusOK, &container.InspectResponse{}},
		{"info", "GET", "/info", "", "", http.StatusOK, &system.Info{}},
		{"version", "GET", "/version", "", "", http.StatusOK, &system.VersionResponse{}},
		{"images", "GET", "/images/json", "", "", http.StatusOK, &[]image.Summary{}},
		{"image", "GET", "/images/busybox/json", "", "", http.StatusOK, &image.InspectResponse{}},
		{"images removed", "DELETE", "/images/alpine", "", "", http.StatusOK, &[]image.DeleteResponse{}},
		{"networks", "GET", "/networks", "", "", http.StatusOK, &[]network.Summary{}},
		{"network", "GET", "/networks/bridge", "", "", http.StatusOK, &network.Inspect{}},
		{"network made", "POST", "/networks/create", "", `{"Name":"n"}`, http.StatusCreated, &network.CreateResponse{}},
		{"volume made", "POST", "/volumes/create", "", `{"Name":"v"}`, http.StatusCreated, &volume.Volume{}},
		{"volumes", "GET", "/volumes", "", "", http.StatusOK, &volume.ListResponse{}},
		{"volume", "GET", "/volumes/v", "", "", http.StatusOK, &volume.Volume{}},
		{"events", "GET", "/events", "since=1&until=9999999999", "", http.StatusOK, &events.Message{}},
		{"a refusal", "GET", "/containers/nobody/json", "", "", http.StatusNotFound, &common.ErrorResponse{}},
		{"prune", "POST", "/containers/prune", "", "", http.StatusNotImplemented, &common.ErrorResponse{}},
		{"exec", "POST", "/containers/web/exec", "", "{}", http.StatusNotImplemented, &common.ErrorResponse{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := ask(t, e, tc.method, tc.path, tc.query, tc.body)
			if w.Code != tc.status {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if tc.into == nil {
				return
			}
			dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
			dec.DisallowUnknownFields()
			for dec.More() {
				if err := dec.Decode(tc.into); err != nil {
					t.Fatalf("%v: %s", err, w.Body)
				}
			}
		})
	}
}
