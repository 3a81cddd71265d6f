package cluster_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

func createVolume(t *testing.T, c *cluster.Cluster, body string) string {
	t.Helper()
	answer, err := c.CreateVolume(t.Context(), []byte(body), apiversion.Max)
	if err != nil {
		t.Fatal(err)
	}
	var created struct{ Name string }
	if err := json.Unmarshal(answer, &created); err != nil {
		t.Fatal(err)
	}
	return created.Name
}

func TestCreateVolume_isOnAllEnginesAtOnce(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	if name := createVolume(t, c, `{"Name":"data","Labels":{"a":"b"}}`); name != "data" {
		t.Errorf("answered %q", name)
	}
	if got := listVolumes(t, c); !slices.Equal(got, []string{"n1/data", "n2/data", "n3/data"}) {
		t.Errorf("the list shows %q", got)
	}
	for _, ref := range []string{"n2/only", "ID-n3/only"} {
		if name := createVolume(t, c, `{"Name":"`+ref+`"}`); name != ref {
			t.Errorf("answered %q", name)
		}
	}
	if got := listVolumes(t, c, "name=only"); !slices.Equal(got, []string{"n2/only", "n3/only"}) {
		t.Errorf("the list shows %q", got)
	}
	if _, err := c.CreateVolume(t.Context(), []byte(`{"Name":"n9/only"}`), apiversion.Max); !errdefs.IsInvalidArgument(err) {
		t.Errorf("unknown node: %v", err)
	}
}

func TestCreateVolume_withoutANameGetsTheSameOneEverywhere(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	name := createVolume(t, c, `{"Labels":{"a":"b"}}`)
	if len(name) != 64 || strings.Trim(name, "0123456789abcdef") != "" {
		t.Fatalf("made up %q", name)
	}
	for _, e := range engines {
		want := map[string]string{"a": "b", "com.docker.volume.anonymous": ""}
		if diff := cmp.Diff(want, e.Volumes()[name].Labels); diff != "" {
			t.Errorf("labels on %s: %s", e.Name(), diff)
		}
	}
	if name := createVolume(t, c, `{"Name":"n2/"}`); len(name) != 67 || !strings.HasPrefix(name, "n2/") {
		t.Errorf("on one node: %q", name)
	}
}

func TestCreateVolume_goesWhereTheWhitelistSays(t *testing.T) {
	c := enginetest.Cluster(t, cluster.Config{}, enginetest.StartMany(t, 3)...)
	createVolume(t, c, `{"Name":"data","Labels":{"com.docker.swarm.whitelists":"[\"node==n1|n3\",\"node==n2|n3\"]"}}`)
	if got := listVolumes(t, c); !slices.Equal(got, []string{"n3/data"}) {
		t.Errorf("the list shows %q", got)
	}
	for _, whitelist := range []string{`[\"node==n7\"]`, `[\"node\"]`} {
		_, err := c.CreateVolume(t.Context(), []byte(`{"Name":"x","Labels":{"com.docker.swarm.whitelists":"`+whitelist+`"}}`), apiversion.Max)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", whitelist, err)
		}
	}
}

func TestCreateVolume_isAllOrNothing(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	engines[0].AddVolume(enginetest.Volume{Name: "data"}) // with someone's data in it
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	engines[2].Fail("POST", "/volumes/create", http.StatusConflict, "create data: conflict")
	_, err := c.CreateVolume(t.Context(), []byte(`{"Name":"data"}`), apiversion.Max)
	if !errdefs.IsConflict(err) || err.Error() != "n3: create data: conflict" {
		t.Errorf("got %v", err)
	}
	if got := listVolumes(t, c); !slices.Equal(got, []string{"n1/data"}) {
		t.Errorf("what was there before must stay, all else must not: %q", got)
	}
}

func TestCreateVolume_takesNothingBackOfADriverThatEnginesShare(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	engines[1].Fail("POST", "/volumes/create", http.StatusInternalServerError, "no such plugin")
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	if _, err := c.CreateVolume(t.Context(), []byte(`{"Name":"data","Driver":"netapp"}`), apiversion.Max); err == nil {
		t.Fatal("no error")
	}
	if _, stays := engines[0].Volumes()["data"]; !stays {
		t.Error("the volume was removed")
	}
}

func TestCreateVolume_keepsBodyAndAnswer(t *testing.T) {
	engines := enginetest.StartMany(t, 1)
	var sent []byte
	engines[0].Handle("POST", "/volumes/create", func(w http.ResponseWriter, r *http.Request) {
		sent, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"Name":"data","Driver":"local","New":{"x":1}}`))
	})
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	answer, err := c.CreateVolume(t.Context(), []byte(`{"Name":"n1/data","DriverOpts":{"o":"size=1"},"New":1.50}`), apiversion.Max)
	if err != nil || string(answer) != `{"Name":"n1/data","Driver":"local","New":{"x":1}}` {
		t.Errorf("answer %s, %v", answer, err)
	}
	if want := `{"Name":"data","DriverOpts":{"o":"size=1"},"New":1.50}`; string(sent) != want {
		t.Errorf("sent %s", sent)
	}
}

func TestCreateVolume_isNotHeldUpByAnEngineThatHangs(t *testing.T) {
	t.Parallel() // with the others that wait for a probe to time out
	engines := enginetest.StartMany(t, 2)
	c := enginetest.Cluster(t, impatient(), engines...)
	engines[1].Freeze()
	_, err := c.CreateVolume(t.Context(), []byte(`{"Name":"data"}`), apiversion.Max)
	if err == nil || !strings.HasPrefix(err.Error(), "n2: cannot be reached: ") {
		t.Errorf("got %v", err)
	}
	if got := listVolumes(t, c); got != nil {
		t.Errorf("left: %q", got)
	}
}
