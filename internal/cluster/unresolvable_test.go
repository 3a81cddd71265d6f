package cluster_test

import (
	"testing"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// An address in the discovery may be anything, and may be gone again before it
// is known what it was.
func TestMembers_aHostThatCannotBeResolvedComesAndGoes(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", IP: "10.0.0.1"})
	const lost = "no..such..host:2375" // for which no name server has to be asked
	c, lists := follow(t, cluster.Config{}, e)
	for range 3 {
		lists <- []string{e.Address(), lost}
		enginetest.WaitHealthy(t, c, 1)
		enginetest.Eventually(t, "it is shown with its error", func() bool {
			got := rows(c, lost)
			return got["Status"] == "Pending" && got["Name"] == "(unknown)" && got["Error"] != ""
		})
		lists <- []string{e.Address()}
		enginetest.Eventually(t, "it is gone", func() bool { return len(rows(c, lost)) == 0 })
	}
	if rows(c, e.Address())["Status"] != "Healthy" {
		t.Error("the other engine has suffered")
	}
}

// A name may stop to be resolved while connections still come about, by a proxy
// say: then nobody knows at which address its ports are, and all else works.
func TestMembers_anEngineWhoseNameHasNoAddress(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", IP: "no..such..host"})
	id := e.AddContainer(enginetest.Container{Name: "web", Running: true})
	c, lists := follow(t, cluster.Config{}, e)
	lists <- []string{e.Address()}
	enginetest.WaitHealthy(t, c, 1)
	body, err := c.Inspect(t.Context(), "web", nil, apiversion.Max)
	if err != nil {
		t.Fatal(err)
	}
	got := decodeAs[struct {
		ID   string `json:"Id"`
		Node cluster.NodeInfo
	}](t, body)
	if got.ID != id || got.Node.Name != "n1" || got.Node.IP != "" || got.Node.Addr != "no..such..host:2375" {
		t.Errorf("%+v", got)
	}
	lists <- nil
	enginetest.Eventually(t, "it is gone", func() bool { return c.Info().Containers == 0 && len(rows(c, e.Address())) == 0 })
}
