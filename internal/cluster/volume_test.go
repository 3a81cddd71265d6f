package cluster_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// impatient is a cluster that soon gives up an engine that does not answer.
func impatient() cluster.Config {
	return cluster.Config{FailureRetry: 1, ProbeInterval: 50 * time.Millisecond}
}

func listVolumes(t *testing.T, c *cluster.Cluster, filters ...string) []string {
	t.Helper()
	body, err := c.ListVolumes(apifilter.New(filters...))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Volumes json.RawMessage }
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	return namesIn(t, list.Volumes)
}

func TestListVolumes(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for _, e := range engines {
		e.AddVolume(enginetest.Volume{Name: "data", Labels: map[string]string{"env": "test"}})
		e.AddVolume(enginetest.Volume{Name: "shared", Driver: "netapp", Scope: "global"})
	}
	engines[0].AddVolume(enginetest.Volume{Name: "logs"})
	mount := func(name string) []map[string]any {
		return []map[string]any{{"Type": "volume", "Name": name, "Destination": "/x"}}
	}
	engines[1].AddContainer(enginetest.Container{Name: "one", Mounts: mount("data")})
	engines[2].AddContainer(enginetest.Container{Name: "two", Mounts: mount("shared")})
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	for _, test := range []struct {
		name    string
		filters []string
		want    []string
	}{
		{"local ones of each node, others once", nil, []string{"n1/data", "n1/logs", "n2/data", "n3/data", "shared"}},
		{"by a part of the name", []string{"name=at"}, []string{"n1/data", "n2/data", "n3/data"}},
		{"by NODE/name", []string{"name=n2/data"}, []string{"n2/data"}},
		{"by driver", []string{"driver=netapp"}, []string{"shared"}},
		{"by label", []string{"label=env=test", "node=n3"}, []string{"n3/data"}},
		{"by node", []string{"node=n1"}, []string{"n1/data", "n1/logs", "shared"}},
		{"unused", []string{"dangling=true"}, []string{"n1/data", "n1/logs", "n3/data"}},
		{"used", []string{"dangling=false"}, []string{"n2/data", "shared"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, listVolumes(t, c, test.filters...)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if _, err := c.ListVolumes(apifilter.New("colour=red")); !errdefs.IsInvalidArgument(err) || err.Error() != "invalid filter 'colour'" {
		t.Errorf("unknown filter: %v", err)
	}
}

func TestListVolumes_ofNoneIsAnEmptyList(t *testing.T) {
	c := enginetest.Cluster(t, cluster.Config{}, enginetest.StartMany(t, 1)...)
	got, err := c.ListVolumes(apifilter.Args{})
	if err != nil || string(got) != `{"Volumes":[],"Warnings":null}`+"\n" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestInspectVolume(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for i, e := range engines {
		e.AddVolume(enginetest.Volume{Name: "copies", Labels: map[string]string{"a": "b"}})
		e.AddVolume(enginetest.Volume{Name: "shared", Driver: "netapp", Scope: "global", Mountpoint: "/of/" + e.Name()})
		e.AddVolume(enginetest.Volume{Name: "differ", Labels: map[string]string{"i": string('0' + rune(i))}})
	}
	engines[0].AddVolume(enginetest.Volume{Name: "late"})
	engines[1].AddVolume(enginetest.Volume{Name: "late", Labels: map[string]string{"a": "b"}})
	engines[2].AddVolume(enginetest.Volume{Name: "only"})
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	for _, test := range []struct{ ref, want, err string }{
		{ref: "only", want: `"only" on n3`},
		{ref: "n3/only", want: `"n3/only" on n3`},
		{ref: "ID-n3/only", want: `"n3/only" on n3`},
		{ref: "copies", want: `"copies" on `},
		{ref: "n2/copies", want: `"n2/copies" on n2`},
		{ref: "shared", want: `"shared" on `},
		{ref: "late", want: `"late" on `},
		{ref: "differ", err: "volume differ is ambiguous, it may be any of: n1/differ, n2/differ, n3/differ; give its NODE/name"},
		{ref: "n1/only", err: "get n1/only: no such volume"},
		{ref: "nope", err: "get nope: no such volume"},
	} {
		t.Run(test.ref, func(t *testing.T) {
			body, err := c.InspectVolume(t.Context(), test.ref, apiversion.Max)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %s, %v", body, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Name   string
				Labels map[string]string
				Node   struct{ Name string }
			}
			if err := json.Unmarshal(body, &got); err != nil || `"`+got.Name+`" on `+got.Node.Name != test.want {
				t.Errorf("got %s: %v", body, err)
			}
			if test.ref == "late" && got.Labels["a"] != "b" {
				t.Errorf("of copies the one that was created must speak, not the one made by the way: %s", body)
			}
		})
	}
}

func TestRemoveVolume_removesAllCopies(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for _, e := range engines {
		e.AddVolume(enginetest.Volume{Name: "data"})
		e.AddVolume(enginetest.Volume{Name: "logs"})
	}
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	for _, ref := range []string{"n2/data", "logs"} {
		if err := c.RemoveVolume(t.Context(), ref, false); err != nil {
			t.Fatal(err)
		}
	}
	if got := listVolumes(t, c); !slices.Equal(got, []string{"n1/data", "n3/data"}) {
		t.Errorf("left: %q", got)
	}
	if err := c.RemoveVolume(t.Context(), "logs", false); !errdefs.IsNotFound(err) || err.Error() != "get logs: no such volume" {
		t.Errorf("gone already: %v", err)
	}
	if err := c.RemoveVolume(t.Context(), "logs", true); err != nil {
		t.Errorf("gone already, by force: %v", err)
	}
	if err := c.RemoveVolume(t.Context(), "data", true); err != nil {
		t.Fatal(err)
	}
	if sent := engines[0].Requests("DELETE /volumes/data"); !slices.Equal(sent, []string{"DELETE /volumes/data?force=1"}) {
		t.Errorf("sent %q", sent)
	}
}

func TestRemoveVolume_saysWhereItFailedAndWhereItIsGone(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for _, e := range engines {
		e.AddVolume(enginetest.Volume{Name: "data"})
	}
	engines[1].Fail("DELETE", "/volumes/data", http.StatusConflict, "remove data: volume is in use")
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	err := c.RemoveVolume(t.Context(), "data", false)
	if !errdefs.IsConflict(err) || err.Error() != "n2: remove data: volume is in use; removed on n1, n3" {
		t.Errorf("got %v", err)
	}
	if got := listVolumes(t, c); !slices.Equal(got, []string{"n2/data"}) {
		t.Errorf("left: %q", got)
	}
}

func TestRemoveVolume_ofADriverThatEnginesShareIsAskedOfOne(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	for _, e := range engines {
		e.AddVolume(enginetest.Volume{Name: "shared", Driver: "netapp"})
	}
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	engines[0].Handle("DELETE", "/volumes/shared", func(w http.ResponseWriter, _ *http.Request) {
		for _, e := range engines {
			e.RemoveVolume("shared")
		}
		w.WriteHeader(http.StatusNoContent)
	})
	user := engines[1].AddContainer(enginetest.Container{Name: "web", Mounts: []map[string]any{{"Type": "volume", "Name": "shared"}}})
	enginetest.Eventually(t, "the container is known", func() bool { _, err := c.Container("web"); return err == nil })
	err := c.RemoveVolume(t.Context(), "shared", true)
	if !errdefs.IsConflict(err) || err.Error() != "n2: remove shared: volume is in use - ["+user+"]" || len(engines[0].Requests("DELETE")) > 0 {
		t.Errorf("in use on another node: %v", err)
	}
	engines[1].RemoveContainer(user)
	enginetest.Eventually(t, "the container is gone", func() bool { _, err := c.Container("web"); return err != nil })
	if err := c.RemoveVolume(t.Context(), "shared", false); err != nil {
		t.Fatal(err)
	}
	if sent := engines[1].Requests("DELETE"); sent != nil {
		t.Errorf("the second got %q", sent)
	}
	if got := listVolumes(t, c); got != nil {
		t.Errorf("left: %q", got)
	}
}

func TestVolumes_ofAnEngineThatDoesNotAnswer(t *testing.T) {
	t.Parallel() // with the others that wait for a probe to time out
	engines := enginetest.StartMany(t, 2)
	for _, e := range engines {
		e.AddVolume(enginetest.Volume{Name: "data"})
	}
	c := enginetest.Cluster(t, impatient(), engines...)
	engines[0].Freeze()
	enginetest.WaitUnhealthy(t, c, 1)

	if _, err := c.InspectVolume(t.Context(), "data", apiversion.Max); err != nil {
		t.Errorf("the other copy: %v", err)
	}
	if _, err := c.InspectVolume(t.Context(), "n1/data", apiversion.Max); !errdefs.IsUnavailable(err) {
		t.Errorf("its own: %v", err)
	}
	createVolume(t, c, `{"Name":"new"}`)
	if got := listVolumes(t, c, "name=new"); !slices.Equal(got, []string{"n2/new"}) {
		t.Errorf("created on %q", got)
	}
	err := c.RemoveVolume(t.Context(), "data", false)
	if err == nil || !strings.HasPrefix(err.Error(), "n1: cannot be reached: ") || !strings.HasSuffix(err.Error(), "; removed on n2") {
		t.Errorf("remove: %v", err)
	}
}
