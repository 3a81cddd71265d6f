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

func listNetworks(t *testing.T, c *cluster.Cluster, filters ...string) []string {
	t.Helper()
	body, err := c.ListNetworks(apifilter.New(filters...))
	if err != nil {
		t.Fatal(err)
	}
	return namesIn(t, body)
}

func namesIn(t *testing.T, list []byte) []string {
	t.Helper()
	var entries []struct{ Name string }
	if err := json.Unmarshal(list, &entries); err != nil {
		t.Fatalf("%v in %s", err, list)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

// threeNetworks are engines with what every engine has, networks of one name,
// and one that spans them.
func threeNetworks(t *testing.T) ([]*enginetest.Engine, *cluster.Cluster) {
	engines := enginetest.StartMany(t, 3)
	for i, e := range engines {
		e.AddNetwork(enginetest.Network{Name: "bridge"})
		e.AddNetwork(enginetest.Network{Name: "host", Driver: "host"})
		if i < 2 {
			e.AddNetwork(enginetest.Network{ID: strings.Repeat(string('a'+rune(i)), 64), Name: "twice", Labels: map[string]string{"env": "test"}})
			e.AddNetwork(enginetest.Network{ID: strings.Repeat("c", 64), Name: "wide", Driver: "overlay", Scope: "swarm"})
		}
	}
	engines[2].AddNetwork(enginetest.Network{ID: strings.Repeat("d", 64), Name: "once"})
	return engines, enginetest.Cluster(t, cluster.Config{}, engines...)
}

func TestListNetworks(t *testing.T) {
	engines, c := threeNetworks(t)
	engines[2].AddContainer(enginetest.Container{Name: "web", Running: true, Networks: map[string]any{
		"once": map[string]string{"NetworkID": strings.Repeat("d", 64), "EndpointID": "e1"},
	}})
	enginetest.Eventually(t, "the container is known", func() bool { _, err := c.Container("web"); return err == nil })
	for _, test := range []struct {
		name    string
		filters []string
		want    []string
	}{
		{"all, local ones by node, a spanning one once", nil,
			[]string{"n1/bridge", "n1/host", "n1/twice", "n2/bridge", "n2/host", "n2/twice", "n3/bridge", "n3/host", "n3/once", "wide"}},
		{"by ID, and by nothing else", []string{"id=aaa"}, []string{"n1/twice"}},
		{"by a part of the name", []string{"name=wic"}, []string{"n1/twice", "n2/twice"}},
		{"by NODE/name", []string{"name=n2/twice"}, []string{"n2/twice"}},
		{"by the very name, which is then used if one has it", []string{"name=once"}, []string{"once"}},
		{"by the very name, if several have it", []string{"name=twice"}, []string{"n1/twice", "n2/twice"}},
		{"by node name", []string{"node=n3"}, []string{"n3/bridge", "n3/host", "n3/once"}},
		{"by node ID", []string{"node=ID-n2", "type=custom"}, []string{"n2/twice", "wide"}},
		{"by driver", []string{"driver=overlay"}, []string{"wide"}},
		{"by scope", []string{"scope=swarm"}, []string{"wide"}},
		{"by label", []string{"label=env=test"}, []string{"n1/twice", "n2/twice"}},
		{"by label, none", []string{"label=env=prod"}, nil},
		{"builtin", []string{"type=builtin", "node=n1"}, []string{"n1/bridge", "n1/host"}},
		{"either type", []string{"type=builtin", "type=custom", "node=n3"}, []string{"n3/bridge", "n3/host", "n3/once"}},
		{"unused", []string{"dangling=true"}, []string{"n1/twice", "n2/twice", "wide"}},
		{"used", []string{"dangling=false", "node=n3"}, []string{"n3/bridge", "n3/host", "n3/once"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, listNetworks(t, c, test.filters...)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestListNetworks_refusesFilters(t *testing.T) {
	c := enginetest.Cluster(t, cluster.Config{})
	for filter, want := range map[string]string{
		"type=foo":       "Invalid filter: 'type'='foo'",
		"colour=red":     "invalid filter 'colour'",
		"dangling=maybe": "invalid filter 'dangling=[maybe]'",
	} {
		_, err := c.ListNetworks(apifilter.New(filter))
		if !errdefs.IsInvalidArgument(err) || err.Error() != want {
			t.Errorf("%s: %v", filter, err)
		}
	}
	if got, err := c.ListNetworks(apifilter.Args{}); err != nil || string(got) != "[]\n" {
		t.Errorf("no engine: %s, %v", got, err)
	}
}

func TestInspectNetwork_findsWhatIsMeant(t *testing.T) {
	_, c := threeNetworks(t)
	for _, test := range []struct{ ref, want, err string }{
		{ref: "once", want: "n3/once"},
		{ref: "/once", want: "n3/once"},
		{ref: "n3/once", want: "n3/once"},
		{ref: "ID-n3/once", want: "n3/once"},
		{ref: strings.Repeat("a", 64), want: "n1/twice"},
		{ref: strings.Repeat("b", 12), want: "n2/twice"},
		{ref: "ddd", want: "n3/once"},
		{ref: "wide", want: "wide"},
		{ref: "n2/wide", want: "wide"},
		{ref: "n2/bridge", want: "n2/bridge"},
		{ref: "nope", err: "network nope not found"},
		{ref: "n1/once", err: "network n1/once not found"},
		{ref: "", err: "network  not found"},
		{ref: "twice", err: "network twice is ambiguous, it may be any of: n1/twice, n2/twice; give its NODE/name or more of its ID"},
		{ref: "bridge", err: "network bridge is ambiguous, it may be any of: n1/bridge, n2/bridge, n3/bridge; give its NODE/name or more of its ID"},
	} {
		t.Run(test.ref, func(t *testing.T) {
			body, err := c.InspectNetwork(t.Context(), test.ref, nil, apiversion.Max)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %s, %v", body, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got struct{ Name string }
			if err := json.Unmarshal(body, &got); err != nil || got.Name != test.want {
				t.Errorf("got %s: %v", body, err)
			}
		})
	}
	if _, err := c.InspectNetwork(t.Context(), "wide", url.Values{"scope": {"local"}}, apiversion.Max); !errdefs.IsNotFound(err) {
		t.Errorf("another scope: %v", err)
	}
}

func TestInspectNetwork_joinsTheContainersOfAllEngines(t *testing.T) {
	engines, c := threeNetworks(t)
	path := "/networks/" + strings.Repeat("c", 64)
	engines[0].Handle("GET", path, answerWith(`{"Name":"wide","Scope":"swarm","New":true,"Containers":{
		"one":{"Name":"web.1","EndpointID":"e1"},"ep-e2":{"Name":"","EndpointID":"e2"},"ep-e9":{"Name":"","EndpointID":"e9"}}}`))
	engines[1].Handle("GET", path, answerWith(`{"Name":"wide","Scope":"swarm","Containers":{
		"two":{"Name":"web.2","EndpointID":"e2","New":1},"ep-e1":{"Name":"","EndpointID":"e1"}}}`))
	got, err := c.InspectNetwork(t.Context(), "wide", nil, apiversion.Max)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Name":"wide","Scope":"swarm","New":true,"Containers":{
		"one":{"Name":"web.1","EndpointID":"e1"},"two":{"Name":"web.2","EndpointID":"e2","New":1},"ep-e9":{"Name":"","EndpointID":"e9"}}}`
	if diff := cmp.Diff(decode(t, []byte(want)), decode(t, got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestInspectNetwork_saysWhichNodeDoesNotAnswer(t *testing.T) {
	t.Parallel() // with the others that wait for a probe to time out
	engines := enginetest.StartMany(t, 2)
	engines[1].AddNetwork(enginetest.Network{Name: "net"})
	c := enginetest.Cluster(t, impatient(), engines...)
	engines[1].Freeze()
	enginetest.WaitUnhealthy(t, c, 1)
	_, err := c.InspectNetwork(t.Context(), "net", nil, apiversion.Max)
	if !errdefs.IsUnavailable(err) || !strings.HasPrefix(err.Error(), "network n2/net is on node n2, which does not answer: ") {
		t.Errorf("got %v", err)
	}
	if got := listNetworks(t, c); got != nil {
		t.Errorf("the list shows %q", got)
	}
	if _, err := c.CreateNetwork(t.Context(), []byte(`{"Name":"net"}`), apiversion.Max); !errdefs.IsConflict(err) {
		t.Errorf("its name is not free: %v", err)
	}
}

func TestConnectNetwork(t *testing.T) {
	engines, c := threeNetworks(t)
	id := engines[1].AddContainer(enginetest.Container{Name: "web"})
	enginetest.Eventually(t, "the container is known", func() bool { _, err := c.Container("web"); return err == nil })
	for _, test := range []struct{ name, ref, container, want, err string }{
		{name: "the container's own of two", ref: "twice", container: "web", want: strings.Repeat("b", 64)},
		{name: "by NODE/name both", ref: "n2/twice", container: "n2/web", want: strings.Repeat("b", 64)},
		{name: "one that spans nodes", ref: "wide", container: "/web", want: strings.Repeat("c", 64)},
		{name: "one of another node", ref: "once", container: "web",
			err: "network once is on n3, but container web is on n2: a container can only be on networks of its own node, or on those that span nodes"},
		{name: "an unknown one", ref: "nope", container: "web", err: "network nope not found"},
		{name: "an unknown container", ref: "twice", container: "nope", err: "No such container: nope"},
		{name: "no container", ref: "twice", container: "", err: "Container is not specified: give a container's name or ID"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var sent json.RawMessage
			if test.want != "" {
				engines[1].Handle("POST", "/networks/"+test.want+"/connect", func(_ http.ResponseWriter, r *http.Request) {
					_ = json.NewDecoder(r.Body).Decode(&sent)
				})
			}
			body := `{"Container":"` + test.container + `","EndpointConfig":{"Aliases":["x"],"New":1}}`
			err := c.ConnectNetwork(t.Context(), test.ref, []byte(body), apiversion.Max)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %v", err)
				}
				return
			}
			if want := `{"Container":"` + id + `","EndpointConfig":{"Aliases":["x"],"New":1}}`; err != nil || string(sent) != want {
				t.Errorf("sent %s, %v", sent, err)
			}
		})
	}
}

func TestDisconnectNetwork_byForceFreesThePlaceOfAContainerThatIsGone(t *testing.T) {
	engines, c := threeNetworks(t)
	var sent json.RawMessage
	engines[2].Handle("POST", "/networks/"+strings.Repeat("d", 64)+"/disconnect", func(_ http.ResponseWriter, r *http.Request) {
		_ = json.NewDecoder(r.Body).Decode(&sent)
	})
	if err := c.DisconnectNetwork(t.Context(), "once", []byte(`{"Container":"n3/ghost","Force":false}`), apiversion.Max); !errdefs.IsNotFound(err) {
		t.Errorf("without force: %v", err)
	}
	err := c.DisconnectNetwork(t.Context(), "once", []byte(`{"Container":"n3/ghost","Force":true}`), apiversion.Max)
	if want := `{"Container":"ghost","Force":true}`; err != nil || string(sent) != want {
		t.Errorf("sent %s, %v", sent, err)
	}
}

func TestRemoveNetwork(t *testing.T) {
	engines, c := threeNetworks(t)
	engines[0].Fail("DELETE", "/networks/{id}", http.StatusForbidden, "bridge is a pre-defined network and cannot be removed")
	for ref, is := range map[string]func(error) bool{
		"bridge":    errdefs.IsPermissionDenied,
		"n1/bridge": errdefs.IsPermissionDenied,
		"twice":     errdefs.IsInvalidArgument,
		"nope":      errdefs.IsNotFound,
	} {
		if err := c.RemoveNetwork(t.Context(), ref); !is(err) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, ref := range []string{"n2/twice", "once"} {
		if err := c.RemoveNetwork(t.Context(), ref); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if got := listNetworks(t, c, "type=custom"); !slices.Equal(got, []string{"n1/twice", "wide"}) {
		t.Errorf("left: %q", got)
	}
}
