//go:build linux

package ha_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// loadEvery is the time between two creates that are sent to one manager,
	// however the ones before get on.
	loadEvery = 300 * time.Millisecond
	// loadPatience is how long a client waits for an answer.
	loadPatience = 45 * time.Second
	// loadRetry is when a client that failed asks once more, for the same name.
	loadRetry = 100 * time.Millisecond
)

// create is a container that a client wanted, and what came of it.
type create struct {
	name, via   string
	sent, ended time.Time
	status      int
	id, message string
	err         error
}

func (c create) acknowledged() bool { return c.err == nil && c.status == http.StatusCreated }

func (c create) String() string {
	return fmt.Sprintf("%s via %s: %d %s%v after %s", c.name, c.via, c.status, c.message, c.err, c.ended.Sub(c.sent).Round(time.Millisecond))
}

// load is clients that create containers without a pause, through all managers.
// Who fails tries once more through the next manager, for the same name, as
// people do: that shows what would run twice.
type load struct {
	managers []*manager
	stop     context.CancelFunc
	sending  sync.WaitGroup
	waiting  sync.WaitGroup

	mu   sync.Mutex
	made []create // what has ended; guarded by mu
}

// startLoad begins at once; finish ends it.
func startLoad(t *testing.T, prefix string, managers ...*manager) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{managers: managers, stop: cancel}
	for i := range managers {
		l.sending.Go(func() { l.send(ctx, prefix, i) })
	}
	t.Cleanup(func() { cancel(); l.sending.Wait(); l.waiting.Wait() })
	return l
}

func (l *load) send(ctx context.Context, prefix string, i int) {
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		name := fmt.Sprintf("%s-%s-%d", prefix, l.managers[i].name, n)
		l.waiting.Go(func() {
			for try := range 2 {
				c := createVia(l.managers[(i+try)%len(l.managers)], name)
				l.mu.Lock()
				l.made = append(l.made, c)
				l.mu.Unlock()
				if c.acknowledged() || ctx.Err() != nil {
					return
				}
				time.Sleep(loadRetry)
			}
		})
	}
}

// createVia creates a container, from whose name it is known.
func createVia(m *manager, name string) create {
	ctx, cancel := context.WithTimeout(context.Background(), loadPatience)
	defer cancel()
	c := create{name: name, via: m.name, sent: time.Now()}
	var text []byte
	c.status, text, c.err = ask(ctx, m.socket, http.MethodPost, "/containers/create?name="+name,
		`{"Image":"`+tiny+`","Cmd":["tiny","sleep"],"HostConfig":{"NetworkMode":"none"}}`)
	c.ended = time.Now()
	var answer struct{ Id, Message string }
	_ = json.Unmarshal(text, &answer)
	c.id, c.message = answer.Id, answer.Message
	return c
}

// soFar gives what has ended.
func (l *load) soFar() []create {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.made)
}

// finish ends the load, and gives all that was asked for.
func (l *load) finish() []create {
	l.stop()
	l.sending.Wait()
	l.waiting.Wait()
	return l.soFar()
}

// servedAfter waits for the first create that was sent after a moment, and that
// a manager has acknowledged, and tells how long after the moment that was.
func (l *load) servedAfter(t *testing.T, moment time.Time, via *manager, within time.Duration) time.Duration {
	t.Helper()
	var first time.Duration
	eventually(t, within+5*time.Second, func() error {
		var last string
		for _, c := range l.soFar() {
			if c.sent.After(moment) && c.via == via.name {
				if c.acknowledged() {
					first = c.ended.Sub(moment)
					return nil
				}
				last = c.String()
			}
		}
		return fmt.Errorf("no create through %s has succeeded; the last: %s\n%s", via.name, last, tail(via.log, 3000))
	})
	if first > within {
		t.Errorf("the first create through %s has succeeded after %s, want %s at most", via.name, first, within)
	}
	return first
}

// there is a container as its engine shows it.
type there struct {
	engine, socket, id, name string
	running                  bool
}

// onEngines asks the engines themselves, but for those that cannot answer.
func (s *stage) onEngines(t *testing.T, but ...string) []there {
	t.Helper()
	var all []there
	for _, m := range s.lab.Machines() {
		if slices.Contains(but, m.Name) {
			continue
		}
		socket := strings.TrimPrefix(m.Host(), "unix://")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		status, body, err := ask(ctx, socket, http.MethodGet, "/containers/json?all=1", "")
		cancel()
		if err != nil || status != http.StatusOK {
			t.Fatalf("ask %s: %d %s %v", m.Name, status, body, err)
		}
		var list []struct {
			Id, State string
			Names     []string
		}
		if err := json.Unmarshal(body, &list); err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			all = append(all, there{m.Name, socket, c.Id, strings.TrimPrefix(c.Names[0], "/"), c.State == "running"})
		}
	}
	return all
}

// judge compares what clients were told with what the engines have: all that
// was acknowledged is there, and nothing is there twice.
func (s *stage) judge(t *testing.T, made []create) {
	t.Helper()
	acknowledged, wanted := map[string]string{}, map[string]bool{}
	failures := map[string]int{}
	for _, c := range made {
		wanted[c.name] = true
		if !c.acknowledged() {
			failures[fmt.Sprintf("%d %s %v", c.status, strings.ReplaceAll(c.message, c.name, "NAME"), c.err)]++
			continue
		}
		if other, twice := acknowledged[c.name]; twice {
			t.Errorf("%s was acknowledged twice: %s and %s", c.name, other, c.id)
		}
		acknowledged[c.name] = c.id
	}
	// What a create in doubt has left is removed in a moment.
	var faults []string
	eventually(t, 20*time.Second, func() error {
		faults = nil
		byName := map[string][]there{}
		for _, one := range s.onEngines(t) {
			byName[one.name] = append(byName[one.name], one)
		}
		for name, found := range byName {
			if wanted[name] && len(found) > 1 {
				faults = append(faults, fmt.Sprintf("%s is there %d times: %v", name, len(found), found))
			}
		}
		for name, id := range acknowledged {
			if !slices.ContainsFunc(byName[name], func(one there) bool { return one.id == id }) {
				faults = append(faults, fmt.Sprintf("%s was acknowledged as %s, and is lost: %v", name, id, byName[name]))
			}
		}
		if len(faults) > 0 {
			return fmt.Errorf("%d faults: %q", len(faults), faults[:min(5, len(faults))])
		}
		return nil
	})
	t.Logf("%d containers wanted, %d acknowledged, each there once", len(wanted), len(acknowledged))
	for text, n := range failures {
		t.Logf("  %d times: %.300s", n, text)
	}
	if len(acknowledged) == 0 {
		t.Error("the load has created nothing")
	}
}
