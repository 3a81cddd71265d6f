package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/enginetest"
)

func TestReschedule_aReplicaThatHasNeverMetTheEngineLearnsOfItsContainers(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	engines[0].AddContainer(web("a"))
	engines[1].AddContainer(web("b"))
	watching := moving()
	watching.Term = func(ctx context.Context) (context.Context, bool) { return ctx, false }
	primary, _, _ := manage(t, watching, engines, engines...)
	enginetest.WaitHealthy(t, primary, 2)
	recorded(t, watching, 2)
	if told := primary.Stranded(); len(told) != 0 {
		t.Errorf("%v is stranded on engines that answer", told)
	}
	engines[0].Down()
	var told []cluster.Record
	enginetest.Eventually(t, "the primary tells of it", func() bool { told = primary.Stranded(); return len(told) == 1 })
	text, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}

	replica, _, _ := manage(t, moving(), engines[1:], engines...)
	enginetest.WaitHealthy(t, replica, 1)
	replica.Adopt(append(decodeAs[[]cluster.Record](t, text), cluster.Record{}))
	enginetest.Eventually(t, "it runs on n2", func() bool { return runs(engines[1], "web-a") })
	if on := nodeOf(t, replica, "web-a"); on != "n2" {
		t.Errorf("it is on %s", on)
	}
}

func TestReschedule_whatAnEngineThatAnswersDoesNotHaveIsNotAdopted(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	id := engines[0].AddContainer(web("a"))
	cfg := moving()
	c, _, _ := manage(t, cfg, engines, engines...)
	enginetest.WaitHealthy(t, c, 2)
	recorded(t, cfg, 1)
	known, err := cfg.Ledger.Load()
	if err != nil {
		t.Fatal(err)
	}
	stale := known[0]
	stale.ID, stale.SwarmID = id64("f"), id64("f")
	c.Adopt([]cluster.Record{stale})
	enginetest.Eventually(t, "only the container that is there is recorded", func() bool {
		return cfg.Ledger.(*memory).size() == 1 && cfg.Ledger.(*memory).complete(id)
	})
	engines[0].Down()
	enginetest.Eventually(t, "it runs on n2", func() bool { return runs(engines[1], "web-a") })
	if n := len(engines[1].Containers()); n != 1 {
		t.Errorf("%d containers were made", n)
	}
}

func TestReschedule_sendsNothingWhenTheTermIsOver(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	engines[0].AddContainer(web("a"))
	var over atomic.Bool
	var refused atomic.Int32
	over.Store(true)
	cfg := moving()
	cfg.Term = func(ctx context.Context) (context.Context, bool) {
		ended := over.Load() // what was decided in a term that has ended stays undone
		return engine.WithGate(ctx, func() error {
			if ended {
				refused.Add(1)
				return errors.New("the term is over")
			}
			return nil
		}), true
	}
	c, _, _ := manage(t, cfg, engines, engines...)
	enginetest.WaitHealthy(t, c, 2)
	recorded(t, cfg, 1)
	engines[0].Down()
	enginetest.Eventually(t, "it was tried", func() bool { return refused.Load() > 0 })
	if n := len(engines[1].Requests("POST /containers/create")); n != 0 {
		t.Errorf("%d creates were sent", n)
	}
	over.Store(false)
	enginetest.Eventually(t, "it runs on n2 in the next term", func() bool { return runs(engines[1], "web-a") })
}
