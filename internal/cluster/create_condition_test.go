package cluster_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
	"github.com/skep/skep/internal/placement"
)

// Whatever an expression is, it is an error of this create at most: the next
// one is placed as ever.
func TestCreate_noExpressionEndsTheScheduling(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", Labels: []string{"rack=a"}})
	withBusybox(e)
	c := enginetest.Cluster(t, cluster.Config{}, e)
	for _, expression := range []string{
		"constraint:node==/", "affinity:container==/", "affinity:image==/", "constraint:node!=/", "constraint:node==~/",
		"constraint:node==//", "constraint:node==", "constraint:==", "constraint:", "constraint:node==/[/", "constraint:node==/(/",
		"affinity:container==/*/", "affinity:image==sha256:", "whitelist:", "whitelist:node==/", "reschedule:",
		"constraint:node==/" + strings.Repeat("(a*)*", 100) + "/",
	} {
		_, err := create(t.Context(), c, "", `{"Image":"busybox","Env":["`+expression+`"]}`)
		if err != nil && !errdefs.IsInvalidArgument(err) && !errdefs.IsUnavailable(err) {
			t.Errorf("%s: %v", expression, err)
		}
		if strings.HasSuffix(expression, "==/") && strings.HasPrefix(expression, "constraint") && err == nil {
			t.Errorf("%s: placed", expression)
		}
		placed := make(chan error, 1)
		go func() {
			_, err := create(t.Context(), c, "", `{"Image":"busybox"}`)
			placed <- err
		}()
		select {
		case err := <-placed:
			if err != nil {
				t.Fatalf("after %s: %v", expression, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("after %s nothing is placed any more", expression)
		}
	}
}

// Parts of CPUs count, by whatever field they are asked for.
func TestCreate_countsTheCPUsThatAreAskedFor(t *testing.T) {
	for _, tc := range []struct{ name, host string }{
		{"docker run --cpus", `{"NanoCpus":1500000000}`},
		{"docker run --cpu-shares", `{"CpuShares":1536}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := enginetest.Start(t, enginetest.Config{Name: "n1", CPUs: 2})
			withBusybox(e)
			c := enginetest.Cluster(t, exactly(t, "random"), e)
			id, err := create(t.Context(), c, "first", `{"Image":"busybox","HostConfig":`+tc.host+`}`)
			if err != nil {
				t.Fatal(err)
			}
			// It is the engine's to make of it what it does.
			if sent := string(e.Containers()[id].Config); !strings.Contains(sent, strings.Trim(tc.host, "{}")) {
				t.Errorf("sent %s", sent)
			}
			serveRaw(e, rawContainer{`{"Id":"` + id + `","Names":["/first"],"State":"created"}`, `{"Id":"` + id + `","Name":"/first","Config":{},"HostConfig":` + tc.host + `}`})
			found, err := c.Container(id)
			if err != nil {
				t.Fatal(err)
			}
			c.Refresh(t.Context(), found.Engine, id)
			if got := rows(c, e.Address())["Reserved CPUs"]; got != "1.5 / 2" {
				t.Errorf("reserved %s", got)
			}
			if _, err := create(t.Context(), c, "second", `{"Image":"busybox","HostConfig":{"NanoCpus":500000001}}`); err == nil || !strings.Contains(err.Error(), "no resources available") {
				t.Errorf("one CPU too many: %v", err)
			}
			if _, err := create(t.Context(), c, "second", `{"Image":"busybox","HostConfig":{"NanoCpus":500000000}}`); err != nil {
				t.Errorf("what is left: %v", err)
			}
		})
	}
}

// Two cores and five percent are 2.1, and 29 percent are 29.
func TestCreate_anOvercommitIsOfSmallMachinesToo(t *testing.T) {
	for _, tc := range []struct {
		overcommit float64
		most, over string
	}{
		{0.05, "2100000000", "2100000001"},
		{0.29, "2580000000", "2580000001"},
	} {
		e := enginetest.Start(t, enginetest.Config{Name: "n1", CPUs: 2})
		withBusybox(e)
		c := enginetest.Cluster(t, overcommitted(t, tc.overcommit), e)
		if _, err := create(t.Context(), c, "", `{"Image":"busybox","HostConfig":{"NanoCpus":`+tc.over+`}}`); err == nil {
			t.Errorf("%g: %s is too much", tc.overcommit, tc.over)
		}
		if _, err := create(t.Context(), c, "", `{"Image":"busybox","HostConfig":{"NanoCpus":`+tc.most+`}}`); err != nil {
			t.Errorf("%g: %s: %v", tc.overcommit, tc.most, err)
		}
	}
}

func overcommitted(t *testing.T, by float64) cluster.Config {
	t.Helper()
	p, err := placement.NewPolicy("spread", nil, by)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Config{Policy: p}
}

// A host port is a port of a protocol.
func TestCreate_theSamePortOfAnotherProtocolIsFree(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	withBusybox(e)
	c := enginetest.Cluster(t, cluster.Config{}, e)
	body := func(port string) string {
		return `{"Image":"busybox","HostConfig":{"PortBindings":{"` + port + `":[{"HostPort":"53"}]}}}`
	}
	e.Fail("GET", "/containers/json", 500, "busy") // so that what was made stays reserved
	for _, tc := range []struct {
		port string
		free bool
	}{{"53/tcp", true}, {"53/udp", true}, {"53/tcp", false}, {"53", false}, {"53/udp", false}, {"53/sctp", true}} {
		if _, err := create(t.Context(), c, "", body(tc.port)); (err == nil) != tc.free {
			t.Errorf("%s: %v", tc.port, err)
		}
	}
}

// The driver is the engine's to choose, for a client that names none.
func TestCreateNetwork_sendsNoDriverThatNobodyAskedFor(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	c := enginetest.Cluster(t, cluster.Config{}, e)
	id := createNetwork(t, c, `{"Name":"net"}`)
	if got := e.Networks()[id]; got.Driver != "bridge" || got.Name != "net" {
		t.Errorf("created %+v", got)
	}
}

// An image may be named in any of the ways in which users do.
func TestCreate_goesToTheImageByAnyOfItsNames(t *testing.T) {
	for _, tc := range []struct {
		name string
		here bool
	}{
		{"busybox", true}, {"busybox:latest", true}, {"docker.io/library/busybox", true}, {"library/busybox:latest", true},
		{"index.docker.io/library/busybox:latest", true},
		{"busy", false}, {"busybox:1", false}, {"box", false}, {"quay.io/busybox", false}, {"busyboxes", false},
	} {
		engines := enginetest.StartMany(t, 2)
		engines[1].AddImage(enginetest.Image{Tags: []string{"busybox:latest"}}) // that was never in a registry
		engines[1].AddContainer(enginetest.Container{Name: "busy"})
		c := enginetest.Cluster(t, cluster.Config{}, engines...)
		for _, e := range engines { // the fake itself knows one name only
			e.Handle("POST", "/containers/create", func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusCreated)
				fmt.Fprintf(w, `{"Id":%q}`, e.AddContainer(enginetest.Container{Name: "web"}))
			})
		}
		if _, err := create(t.Context(), c, "web", `{"Image":"`+tc.name+`"}`); err != nil {
			t.Fatal(err)
		}
		if on := nodeOf(t, c, "web"); (on == "n2") != tc.here {
			t.Errorf("%s: on %s", tc.name, on)
		}
	}
}
