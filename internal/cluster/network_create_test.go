package cluster_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
	"github.com/skep/skep/internal/placement"
)

func createNetwork(t *testing.T, c *cluster.Cluster, body string) string {
	t.Helper()
	answer, err := c.CreateNetwork(t.Context(), []byte(body), apiversion.Max)
	if err != nil {
		t.Fatal(err)
	}
	var created struct{ ID string }
	if err := json.Unmarshal(answer, &created); err != nil || len(created.ID) != 64 {
		t.Fatalf("answer %s: %v", answer, err)
	}
	return created.ID
}

func TestCreateNetwork_showsAtOnceAndKeepsTheBody(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	var sent []byte
	engines[1].Handle("POST", "/networks/create", func(w http.ResponseWriter, r *http.Request) {
		var body json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&body)
		sent = body
		id := engines[1].AddNetwork(enginetest.Network{Name: "net"})
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"Id":"` + id + `","Warning":"careful","New":1}`))
	})
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	answer, err := c.CreateNetwork(t.Context(), []byte(`{"Name":"n2/net","CheckDuplicate":true,"Options":{"b":"1","a":"2"},"New":[1.0]}`), apiversion.Max)
	if err != nil || !strings.Contains(string(answer), `"Warning":"careful","New":1`) {
		t.Errorf("answer %s, %v", answer, err)
	}
	if want := `{"Name":"net","CheckDuplicate":true,"Options":{"b":"1","a":"2"},"New":[1.0]}`; string(sent) != want {
		t.Errorf("sent %s\nwant %s", sent, want)
	}
	if got := listNetworks(t, c); !slices.Equal(got, []string{"n2/net"}) {
		t.Errorf("the list shows %q", got)
	}
}

func TestCreateNetwork_isOneNameInTheCluster(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	createNetwork(t, c, `{"Name":"n2/net"}`)
	for body, want := range map[string]string{
		`{"Name":"net"}`:    "network with name net already exists on node n2; give NODE/net to create one on another node, too",
		`{"Name":"n2/net"}`: "network with name net already exists",
	} {
		_, err := c.CreateNetwork(t.Context(), []byte(body), apiversion.Max)
		if !errdefs.IsConflict(err) || err.Error() != want {
			t.Errorf("%s: %v", body, err)
		}
	}
	createNetwork(t, c, `{"Name":"ID-n1/net"}`)
	if got := listNetworks(t, c); !slices.Equal(got, []string{"n1/net", "n2/net"}) {
		t.Errorf("the list shows %q", got)
	}
	_, err := c.CreateNetwork(t.Context(), []byte(`{"Name":"n9/net"}`), apiversion.Max)
	if !errdefs.IsInvalidArgument(err) {
		t.Errorf("unknown node: %v", err)
	}
}

func TestCreateNetwork_asksNothingOfANodeButHealth(t *testing.T) {
	full := enginetest.Start(t, enginetest.Config{Name: "n1", Labels: []string{"containerslots=1"}})
	full.AddContainer(enginetest.Container{Running: true})
	policy, err := placement.NewPolicy("binpack", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := enginetest.Cluster(t, cluster.Config{Policy: policy}, full)
	createNetwork(t, c, `{"Name":"net"}`)

	none := enginetest.Cluster(t, cluster.Config{})
	if _, err := none.CreateNetwork(t.Context(), []byte(`{"Name":"net"}`), apiversion.Max); err == nil {
		t.Error("no engine: no error")
	}
}

func TestCreateNetwork_passesOnTheEnginesRefusal(t *testing.T) {
	engines := enginetest.StartMany(t, 1)
	engines[0].Fail("POST", "/networks/create", http.StatusForbidden, "operation is not permitted on predefined bridge network")
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	_, err := c.CreateNetwork(t.Context(), []byte(`{"Name":"bridge"}`), apiversion.Max)
	if !errdefs.IsPermissionDenied(err) {
		t.Errorf("got %v", err)
	}
	// A name whose create has failed is free again.
	engines[0].Handle("POST", "/networks/create", nil)
	createNetwork(t, c, `{"Name":"net"}`)
}

func TestCreateNetwork_thatSpansEnginesIsReadFromAll(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	engines[0].Handle("POST", "/networks/create", func(w http.ResponseWriter, _ *http.Request) {
		id := strings.Repeat("e", 64)
		for _, e := range engines {
			e.AddNetwork(enginetest.Network{ID: id, Name: "wide", Driver: "overlay", Scope: "swarm"})
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"Id":"` + id + `"}`))
	})
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	createNetwork(t, c, `{"Name":"n1/wide","Driver":"overlay"}`)
	if got := listNetworks(t, c, "node=n2"); !slices.Equal(got, []string{"wide"}) {
		t.Errorf("n2 has %q", got)
	}
}

func TestCreateNetwork_configFromIsWhereItsConfigurationIs(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	createNetwork(t, c, `{"Name":"n3/conf","ConfigOnly":true}`)
	createNetwork(t, c, `{"Name":"net","ConfigFrom":{"Network":"n3/conf"}}`)
	if got := listNetworks(t, c); !slices.Equal(got, []string{"n3/conf", "n3/net"}) {
		t.Errorf("the list shows %q", got)
	}
}

// Docker Compose finds its networks again by nothing but the exact name.
func TestNetworks_ofComposeKeepTheirName(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	createNetwork(t, c, `{"Name":"app_default","Labels":{"com.docker.compose.project":"app","com.docker.compose.network":"default"}}`)
	body, err := c.InspectNetwork(t.Context(), "app_default", nil, apiversion.Max)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Name string
		Node struct{ Name string }
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Name != "app_default" || got.Node.Name == "" {
		t.Errorf("inspect: %s", body)
	}
	if got := listNetworks(t, c, "label=com.docker.compose.project=app"); !slices.Equal(got, []string{"app_default"}) {
		t.Errorf("list: %q", got)
	}
	other := "n1"
	if got.Node.Name == "n1" {
		other = "n2"
	}
	createNetwork(t, c, `{"Name":"`+other+`/app_default"}`)
	if got := listNetworks(t, c); !slices.Equal(got, []string{"n1/app_default", "n2/app_default"}) {
		t.Errorf("two of one name: %q", got)
	}
}

func TestCreateNetwork_ofANameThatSpansNodesIsRefusedOnEachNode(t *testing.T) {
	_, c := threeNetworks(t)
	_, err := c.CreateNetwork(t.Context(), []byte(`{"Name":"n3/wide"}`), apiversion.Max) // n3 does not list it
	if !errdefs.IsConflict(err) {
		t.Errorf("got %v", err)
	}
}

func TestCreateNetwork_ofOneNameManyTimesAtOnce(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	var wg sync.WaitGroup
	var made, refused atomic.Int32
	for range 20 {
		wg.Go(func() {
			_, err := c.CreateNetwork(t.Context(), []byte(`{"Name":"net"}`), apiversion.Max)
			switch {
			case err == nil:
				made.Add(1)
			case errdefs.IsConflict(err):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 || refused.Load() != 19 {
		t.Errorf("%d made, %d refused", made.Load(), refused.Load())
	}
	if got := listNetworks(t, c); len(got) != 1 {
		t.Errorf("the list shows %q", got)
	}
}
