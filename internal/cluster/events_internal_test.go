package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/skep/skep/internal/engine"
)

func madeEvent(t testing.TB, i int) engine.Event {
	ev, err := engine.ParseEvent(fmt.Appendf(nil, `{"Type":"container","Action":"start","Actor":{"ID":"c%d"},"time":%d}`, i, i))
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestEvents_aListenerThatLagsIsCutOffAndHoldsUpNobody(t *testing.T) {
	c := emptyCluster(t)
	e := idleEngine(t, "a:1")
	slow, quick := make(chan error, 1), make(chan int, 2*listenerQueue)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := 0
	go func() {
		slow <- c.Events(ctx, EventOptions{}, func() {}, func(json.RawMessage) error {
			if got++; got == 1 {
				close(arrived)
				<-goOn
			}
			return nil
		})
	}()
	go func() {
		_ = c.Events(ctx, EventOptions{}, func() {}, func(json.RawMessage) error {
			quick <- 1
			return nil
		})
	}()
	for c.events.count() < 2 {
		runtime.Gosched() // until both listen
	}
	const all = listenerQueue + 100
	for i := range all {
		c.events.publish(e, madeEvent(t, i))
		if i == 0 {
			<-arrived
		}
		<-quick // who keeps up gets every one
	}
	close(goOn)
	if err := <-slow; !errors.Is(err, errLagged) || err.Error() != "events were lost: more than 10000 waited to be read; ask again with since" {
		t.Errorf("after %d events: %v", got, err)
	}
	if got > listenerQueue+1 {
		t.Errorf("%d events of a queue of %d", got, listenerQueue)
	}
}

func TestEventHub_remembersABoundedNumberForABoundedTime(t *testing.T) {
	h := newEventHub()
	e := idleEngine(t, "a:1")
	for i := range 3 * recentEvents {
		h.publish(e, madeEvent(t, i))
		if len(h.recent) > recentEvents {
			t.Fatalf("%d are kept", len(h.recent))
		}
	}
	if first, last := h.recent[0].Actor.ID, h.recent[len(h.recent)-1].Actor.ID; first != fmt.Sprint("c", 2*recentEvents) || last != fmt.Sprint("c", 3*recentEvents-1) {
		t.Errorf("from %s to %s", first, last)
	}
	for i := range h.recent[:recentEvents/2] {
		h.recent[i].at = time.Now().Add(-recentFor - time.Second)
	}
	h.publish(e, madeEvent(t, 0))
	if n := len(h.recent); n != recentEvents/2+1 {
		t.Errorf("%d are kept after half of them are old", n)
	}
	for range 2 * ownEvents {
		h.own("engine_connect", e)
	}
	if len(h.past) != ownEvents || len(h.before()) != ownEvents+len(h.recent) {
		t.Errorf("%d of its own are kept", len(h.past))
	}
}
