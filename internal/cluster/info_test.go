package cluster_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/api/types/system"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

func TestWriteInfo_writesWhatInfoGives(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	engines[1].AddContainer(enginetest.Container{Image: "x"})
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	var body bytes.Buffer
	if err := c.WriteInfo(&body); err != nil {
		t.Fatal(err)
	}
	// Not what counts by the clock, or by who else is at work here.
	moving := cmpopts.IgnoreFields(system.Info{}, "SystemTime", "NGoroutines")
	if diff := cmp.Diff(c.Info(), decodeAs[system.Info](t, body.Bytes()), moving, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestWriteInfo_tellsThatTheClientHasGone(t *testing.T) {
	c := enginetest.Cluster(t, cluster.Config{}, enginetest.StartMany(t, 1)...)
	r, w := io.Pipe()
	r.Close()
	if err := c.WriteInfo(w); err != io.ErrClosedPipe {
		t.Errorf("%v, not that the pipe is closed", err)
	}
}

// What info costs must not grow with the engines: dashboards ask often.
func TestWriteInfo_encodesNoEngineTwice(t *testing.T) {
	cost := func(engines int) float64 {
		c := enginetest.Cluster(t, cluster.Config{}, enginetest.StartMany(t, engines)...)
		return testing.AllocsPerRun(100, func() {
			if err := c.WriteInfo(io.Discard); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := cost(2), cost(40)
	// An engine that was probed in between is encoded again, with some 60 of them.
	if many > few+30 {
		t.Errorf("info takes %.0f allocations for 40 engines, %.0f for 2", many, few)
	}
}
