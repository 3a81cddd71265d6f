package cluster_test

import (
	"testing"

	"github.com/skep/skep/internal/enginetest"
)

// Either way to ask for it leads to the same. The labels are written as users
// and Swarm write them.
func TestReschedule_isAskedForByTheEnvironmentOrByALabel(t *testing.T) {
	cfg := moving()
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	c := enginetest.Cluster(t, cfg, engines...)
	for name, wish := range map[string]string{
		"by-env":   `"Env":["reschedule:on-node-failure","constraint:node==~n1"]`,
		"by-label": `"Labels":{"com.docker.swarm.reschedule-policies":"[\"on-node-failure\"]","com.docker.swarm.constraints":"[\"node==~n1\"]"}`,
		"not":      `"Labels":{"com.docker.swarm.constraints":"[\"node==~n1\"]"}`,
		"off":      `"Labels":{"com.docker.swarm.reschedule-policies":"[\"off\"]","com.docker.swarm.constraints":"[\"node==~n1\"]"}`,
	} {
		if _, err := create(t.Context(), c, name, `{"Image":"busybox",`+wish+`}`); err != nil {
			t.Fatal(err)
		}
		if on := nodeOf(t, c, name); on != "n1" {
			t.Fatalf("%s is on %s", name, on)
		}
	}
	recorded(t, cfg, 2)
	engines[0].Down()
	enginetest.Eventually(t, "both are on n2", func() bool {
		return named(engines[1], "by-env") != nil && named(engines[1], "by-label") != nil
	})
	if named(engines[1], "not") != nil || named(engines[1], "off") != nil {
		t.Error("what nobody wanted was moved")
	}
}
