package cluster_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

func TestContainer_isFoundByWhatUsersCallIt(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	add := func(e *enginetest.Engine, id, name, swarmID string) {
		labels := map[string]string{}
		if swarmID != "" {
			labels[cluster.LabelSwarmID] = swarmID
		}
		e.AddContainer(enginetest.Container{ID: id64(id), Name: name, Labels: labels})
	}
	add(engines[0], "aaa1", "web", id64("fee1"))
	add(engines[0], "aaa2", "db", "")
	add(engines[0], "bbb", "twice", "")
	add(engines[1], "ccc", "twice", id64("fee2"))
	add(engines[1], "ddd", "aaa1", "")            // named as the beginning of another's ID
	add(engines[1], "eee", id64("aaa2")[:12], "") // named as the short ID of another
	add(engines[1], "abc", "n1", "")              // named as a node
	add(engines[1], "aaa10000000f", "long", id64("1234"))
	c := enginetest.Cluster(t, cluster.Config{}, engines...)

	for _, tc := range []struct{ name, ref, want, err string }{
		{"a full ID", id64("aaa1"), "n1/web", ""},
		{"a short ID", id64("aaa1")[:12], "n1/web", ""},
		{"a short ID goes before a name", id64("aaa2")[:12], "n1/db", ""},
		{"a full swarm ID", id64("fee1"), "n1/web", ""},
		{"a short swarm ID", id64("fee2")[:12], "n2/twice", ""},
		{"a name", "web", "n1/web", ""},
		{"a name with a slash", "/web", "n1/web", ""},
		{"a name goes before the beginning of an ID", "aaa1", "n2/aaa1", ""},
		{"NODE/name", "n2/twice", "n2/twice", ""},
		{"/NODE/name", "/n1/twice", "n1/twice", ""},
		{"ENGINEID/name", "ID-n1/twice", "n1/twice", ""},
		{"a name that is a node's", "n1", "n2/n1", ""},
		{"the beginning of an ID", "bb", "n1/twice", ""},
		{"the beginning of a swarm ID", "fee1", "n1/web", ""},
		{"more than the short ID", id64("aaa10000000f")[:20], "n2/long", ""},
		{"a name of two", "twice", "", "container twice is ambiguous, it may be any of: n1/twice, n2/twice; give its NODE/name or more of its ID"},
		{"the beginning of many", "aaa", "", "container aaa is ambiguous, it may be any of: n1/db, n1/web, n2/long; give its NODE/name or more of its ID"},
		{"the beginning of IDs and swarm IDs", "fee", "", "container fee is ambiguous, it may be any of: n1/web, n2/twice; give its NODE/name or more of its ID"},
		{"another node's", "n2/web", "", "No such container: n2/web"},
		{"a node that is none", "n9/web", "", "No such container: n9/web"},
		{"nobody", "nobody", "", "No such container: nobody"},
		{"a full ID of nobody", id64("999"), "", "No such container: " + id64("999")},
		{"nothing", "", "", "No such container: "},
		{"a slash", "/", "", "No such container: /"},
		{"a node alone", "n1/", "", "No such container: n1/"},
		{"in capitals", "WEB", "", "No such container: WEB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found, err := c.Container(tc.ref)
			if errText(err) != tc.err {
				t.Fatalf("error %v", err)
			}
			switch {
			case err == nil && found.FullName() != tc.want:
				t.Errorf("found %s", found.FullName())
			case strings.HasPrefix(tc.err, "No such") && !errdefs.IsNotFound(err), strings.Contains(tc.err, "ambiguous") && !errdefs.IsInvalidArgument(err):
				t.Errorf("%v is of another kind", err)
			}
		})
	}
}

func TestReachable_needsAnEngineThatAnswers(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	engines[0].AddContainer(enginetest.Container{Name: "web", Running: true})
	c := enginetest.Cluster(t, fast(), engines...)
	if _, err := c.Reachable("web"); err != nil {
		t.Fatal(err)
	}
	engines[0].Fail("GET", "/_ping", http.StatusInternalServerError, "no more")
	enginetest.WaitUnhealthy(t, c, 1)
	_, err := c.Reachable("web")
	if !errdefs.IsUnavailable(err) || !strings.HasPrefix(errText(err), "Container web running on unhealthy node n1: 1 probes in a row failed, the last: no more") {
		t.Errorf("error %v", err)
	}
	if _, err := c.Container("web"); err != nil {
		t.Errorf("it is still known: %v", err)
	}
	if list, err := listJSON(c, cluster.ListOptions{All: true}); err != nil || !strings.Contains(string(list), `"Status":"Host Down"`) {
		t.Errorf("%s, %v", list, err)
	}
	if list, err := listJSON(c, cluster.ListOptions{}); err != nil || !strings.Contains(string(list), "Host Down") {
		t.Errorf("what ran when it was last seen is listed: %s, %v", list, err)
	}
	engines[0].Handle("GET", "/_ping", nil)
	enginetest.WaitHealthy(t, c, 2)
	if _, err := c.Reachable("web"); err != nil {
		t.Error(err)
	}
}
