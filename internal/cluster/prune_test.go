package cluster_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// answerWith makes an engine answer with a body as it is.
func answerWith(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}
}

// sentFilters gives the filters of the requests that an engine got.
func sentFilters(t *testing.T, e *enginetest.Engine, request string) []string {
	t.Helper()
	var out []string
	for _, r := range e.Requests(request) {
		_, query, _ := strings.Cut(r, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, values.Get("filters"))
	}
	return out
}

func TestPruneContainers_addsUpAndKeepsWhatItDoesNotKnow(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	engines[0].Handle("POST", "/containers/prune", answerWith(`{"ContainersDeleted":["a","b"],"SpaceReclaimed":10,"New":[1]}`))
	engines[1].Handle("POST", "/containers/prune", answerWith(`{"ContainersDeleted":null,"SpaceReclaimed":0}`))
	engines[2].Handle("POST", "/containers/prune", answerWith(`{"ContainersDeleted":["c"],"SpaceReclaimed":5,"New":[2]}`))
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	got, err := c.PruneContainers(t.Context(), apifilter.New("until=1h"))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"ContainersDeleted":["a","b","c"],"SpaceReclaimed":15,"New":[1,2]}`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, e := range engines {
		if sent := sentFilters(t, e, "POST /containers/prune"); !slices.Equal(sent, []string{`{"until":{"1h":true}}`}) {
			t.Errorf("%s was sent the filters %q", e.Name(), sent)
		}
	}
}

func TestPrune_nodeFilterChoosesEnginesAndIsNotSentOn(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for _, e := range engines {
		e.AddVolume(enginetest.Volume{Name: "v"})
	}
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	got, err := c.PruneVolumes(t.Context(), apifilter.New("node=n3", "node=ID-n1", "label=x"), apiversion.Version{Major: 1, Minor: 41})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"SpaceReclaimed":200,"VolumesDeleted":["n1/v","n3/v"]}`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if sent := engines[1].Requests("POST"); sent != nil {
		t.Errorf("an engine that was not meant got %q", sent)
	}
	if sent := sentFilters(t, engines[0], "POST /volumes/prune"); !slices.Equal(sent, []string{`{"label":{"x":true}}`}) {
		t.Errorf("filters sent: %q", sent)
	}
	if _, err := c.PruneVolumes(t.Context(), apifilter.New("node=n9"), apiversion.Max); !errdefs.IsNotFound(err) {
		t.Errorf("a node that does not exist: %v", err)
	}
}

func TestPrune_someEnginesFail(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	engines[1].AddNetwork(enginetest.Network{Name: "net"})
	engines[0].Fail("POST", "/networks/prune", http.StatusConflict, "a prune operation is already running")
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	got, err := c.PruneNetworks(t.Context(), apifilter.Args{})
	if err != nil || string(got) != `{"NetworksDeleted":["n2/net"]}` {
		t.Errorf("one of two fails: %s, %v", got, err)
	}
	if left := listNetworks(t, c); len(left) != 0 {
		t.Errorf("the list still shows %q", left)
	}

	engines[1].Fail("POST", "/networks/prune", http.StatusInternalServerError, "broken")
	_, err = c.PruneNetworks(t.Context(), apifilter.Args{})
	if !errdefs.IsConflict(err) || err.Error() != "a prune operation is already running" {
		t.Errorf("all fail: %v", err)
	}
}

func TestPruneVolumes_sparesNamedOnesOnEnginesThatWouldTakeAll(t *testing.T) {
	old := enginetest.Start(t, enginetest.Config{Name: "old", API: "1.41"})
	young := enginetest.Start(t, enginetest.Config{Name: "young", API: "1.51"})
	c := enginetest.Cluster(t, cluster.Config{}, old, young)
	for _, filters := range []apifilter.Args{{}, apifilter.New("all=1"), apifilter.New("all=false")} {
		if _, err := c.PruneVolumes(t.Context(), filters, apiversion.Version{Major: 1, Minor: 51}); err != nil {
			t.Fatal(err)
		}
	}
	anonymous := `{"label":{"com.docker.volume.anonymous":true}}`
	if diff := cmp.Diff([]string{anonymous, "", anonymous}, sentFilters(t, old, "POST /volumes/prune")); diff != "" {
		t.Errorf("old engine:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"", `{"all":{"1":true}}`, `{"all":{"false":true}}`}, sentFilters(t, young, "POST /volumes/prune")); diff != "" {
		t.Errorf("young engine:\n%s", diff)
	}
}

func TestDiskUsage_saysWhoseItIs(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	engines[0].Handle("GET", "/system/df", answerWith(`{"LayersSize":100,"Images":[{"Id":"sha256:1","Size":100,"Containers":1}],
		"Containers":[{"Id":"a","Names":["/web"]}],
		"Volumes":[{"Name":"data","Driver":"local","UsageData":{"Size":5,"RefCount":1}},{"Name":"nfs","Driver":"netapp"}],
		"BuildCache":[{"ID":"b1"}],"BuilderSize":3}`))
	engines[1].Handle("GET", "/system/df", answerWith(`{"LayersSize":30,"Images":[{"Id":"sha256:1","Size":100,"Containers":0}],
		"Containers":[],"Volumes":null,"BuildCache":null,"BuilderSize":4,"ImageUsage":{"TotalCount":1}}`))
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	got, err := c.DiskUsage(t.Context(), nil, apiversion.Version{Major: 1, Minor: 41})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"LayersSize":130,
		"Images":[{"Id":"sha256:1","Size":100,"Containers":1,"Node":{"ID":"ID-n1","Name":"n1"}},{"Id":"sha256:1","Size":100,"Containers":0,"Node":{"ID":"ID-n2","Name":"n2"}}],
		"Containers":[{"Id":"a","Names":["/n1/web"]}],
		"Volumes":[{"Name":"n1/data","Driver":"local","UsageData":{"Size":5,"RefCount":1}},{"Name":"nfs","Driver":"netapp"}],
		"BuildCache":[{"ID":"b1","Node":{"ID":"ID-n1","Name":"n1"}}],"BuilderSize":7,"ImageUsage":{"TotalCount":1}}`
	if diff := cmp.Diff(decode(t, []byte(want)), decode(t, got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDiskUsage_leavesOutWhoDoesNotAnswer(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	engines[0].Fail("GET", "/system/df", http.StatusInternalServerError, "a disk usage operation is already running")
	engines[1].Handle("GET", "/system/df", answerWith(`{"LayersSize":30,"Images":[]}`))
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	got, err := c.DiskUsage(t.Context(), []string{"image"}, apiversion.Version{Major: 1, Minor: 42})
	if err != nil || string(got) != `{"LayersSize":30,"Images":[]}` {
		t.Errorf("%s, %v", got, err)
	}
	if sent := engines[1].Requests("GET /system/df"); !slices.Equal(sent, []string{"GET /system/df?type=image"}) {
		t.Errorf("sent %q", sent)
	}
}

func TestDiskUsage_ofNoEngineIsNothing(t *testing.T) {
	c := enginetest.Cluster(t, cluster.Config{})
	got, err := c.DiskUsage(t.Context(), nil, apiversion.Max)
	if err != nil {
		t.Fatal(err)
	}
	var usage struct {
		LayersSize int
		Images     []any
	}
	if err := json.Unmarshal(got, &usage); err != nil || usage.Images == nil {
		t.Errorf("%s: %v", got, err)
	}
}

func decode(t *testing.T, body []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}
