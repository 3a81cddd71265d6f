package cluster_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/placement"
)

func TestInfo_saysWhoLeads(t *testing.T) {
	policy, err := placement.NewPolicy("spread", nil, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		role func() (string, string)
		want [][2]string
	}{
		"the only manager":              {nil, [][2]string{{"Role", "primary"}}},
		"the primary":                   {func() (string, string) { return "primary", "" }, [][2]string{{"Role", "primary"}}},
		"a replica":                     {func() (string, string) { return "replica", "192.0.2.1:3376" }, [][2]string{{"Role", "replica"}, {"Primary", "192.0.2.1:3376"}}},
		"a replica that knows no other": {func() (string, string) { return "replica", "" }, [][2]string{{"Role", "replica"}, {"Primary", "(unknown)"}}},
	} {
		t.Run(name, func(t *testing.T) {
			many, err := cluster.New(cluster.Config{Policy: policy, Role: c.role})
			if err != nil {
				t.Fatal(err)
			}
			status := many.Info().SystemStatus
			if diff := cmp.Diff(c.want, status[:len(c.want)]); diff != "" || status[len(c.want)][0] != "Strategy" {
				t.Errorf("info shows %v: %s", status, diff)
			}
		})
	}
}
