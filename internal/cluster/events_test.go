package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// seenEvent is an event as a user gets it.
type seenEvent struct {
	Type, Action, From string
	Actor              struct {
		ID         string
		Attributes map[string]string
	}
	Node map[string]string
	Raw  string `json:"-"`
}

func (e seenEvent) String() string { return e.Node["Name"] + ":" + e.Action + ":" + e.Actor.ID }

// listening is a user who listens to events, until the end of the test.
type listening struct {
	t    *testing.T
	got  chan seenEvent
	stop context.CancelFunc
	done chan error // what Events returned
}

// listen returns when the user hears all that happens from now on.
func listen(t *testing.T, c *cluster.Cluster, o cluster.EventOptions) *listening {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &listening{t, make(chan seenEvent, 100_000), cancel, make(chan error, 1)}
	before := c.Info().NEventsListener
	go func() {
		l.done <- c.Events(ctx, o, func() {}, func(raw json.RawMessage) error {
			ev := decodeAs[seenEvent](t, raw)
			ev.Raw = string(raw)
			l.got <- ev
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-l.done
		l.done <- nil
	})
	if o.Until.IsZero() {
		enginetest.Eventually(t, "it listens", func() bool { return c.Info().NEventsListener > before })
	}
	return l
}

// next gives the next n events.
func (l *listening) next(n int) (events []string) {
	l.t.Helper()
	for range n {
		select {
		case ev := <-l.got:
			events = append(events, ev.String())
		case <-time.After(20 * time.Second):
			l.t.Fatalf("after %v there is nothing more", events)
		}
	}
	return events
}

// end waits until Events returns, and gives the events that have come.
func (l *listening) end() (events []string, err error) {
	err = <-l.done
	l.done <- err
	for len(l.got) > 0 {
		events = append(events, (<-l.got).String())
	}
	return events, err
}

func TestEvents_live(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", IP: "10.0.0.1"})
	c := enginetest.Cluster(t, cluster.Config{}, e)
	l := listen(t, c, cluster.EventOptions{})
	e.Emit("container", "start", "c1", map[string]string{"image": "busybox", "name": "web", "x": "<1>"})
	ev := <-l.got
	if ev.From != "busybox node:n1" {
		t.Errorf("from %q", ev.From)
	}
	want := map[string]string{"image": "busybox", "name": "web", "x": "<1>", "node.name": "n1", "node.id": "ID-n1", "node.addr": "10.0.0.1:2375", "node.ip": "10.0.0.1"}
	if diff := cmp.Diff(want, ev.Actor.Attributes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"Name": "n1", "Id": "ID-n1", "Addr": "10.0.0.1:2375", "Ip": "10.0.0.1"}, ev.Node); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(ev.Raw, "\n") || !strings.Contains(ev.Raw, `"x":"<1>"`) {
		t.Errorf("raw %s", ev.Raw)
	}
	// An engine's own order stays.
	var order []string
	for i := range 300 {
		e.Emit("container", "start", fmt.Sprint("c", i), nil)
		order = append(order, fmt.Sprint("n1:start:c", i))
	}
	if diff := cmp.Diff(order, l.next(300)); diff != "" {
		t.Error(diff)
	}
	l.stop()
	if rest, err := l.end(); err != nil || len(rest) != 0 || c.Info().NEventsListener != 0 {
		t.Errorf("%v, %v, %d listeners", rest, err, c.Info().NEventsListener)
	}
}

// The cluster tells of engines that come and go.
func TestEvents_theClustersOwn(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	began := time.Now()
	c, lists := follow(t, fast(), e)
	l := listen(t, c, cluster.EventOptions{Filters: apifilter.New("type=swarm")})
	lists <- []string{e.Address()}
	enginetest.WaitHealthy(t, c, 1)
	e.Fail("GET", "/_ping", http.StatusInternalServerError, "down")
	enginetest.WaitUnhealthy(t, c, 1)
	e.Handle("GET", "/_ping", nil)
	enginetest.WaitHealthy(t, c, 1)
	lists <- nil
	want := []string{"n1:engine_connect:ID-n1", "n1:engine_disconnect:ID-n1", "n1:engine_reconnect:ID-n1", "n1:engine_disconnect:ID-n1"}
	if diff := cmp.Diff(want, l.next(4)); diff != "" {
		t.Error(diff)
	}
	// And remembers it.
	past := listen(t, c, cluster.EventOptions{Since: began.Add(-time.Second), Until: time.Now()})
	if got, err := past.end(); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// Whoever asks for the past and goes on listening gets each event once, also
// those that happen in between.
func TestEvents_pastAndPresentMeetWithoutLossOrDoubles(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	began := time.Now()
	var want []string
	emit := func(i int) {
		e := engines[i%3]
		e.Emit("container", "start", fmt.Sprint("c", i), nil)
		want = append(want, fmt.Sprintf("%s:start:c%d", e.Name(), i))
	}
	const rounds, each = 10, 30
	for round := range rounds {
		stop, emitted := make(chan struct{}), make(chan struct{})
		go func() { // it goes on while the user begins to listen
			defer close(emitted)
			for i := range each {
				emit(round*each + i)
				if i == each/2 {
					<-stop
				}
			}
		}()
		l := listen(t, c, cluster.EventOptions{Since: began, Filters: apifilter.New("event=start")})
		close(stop)
		<-emitted
		got := l.next((round + 1) * each)
		l.stop()
		rest, err := l.end()
		if err != nil || len(rest) > 0 {
			t.Fatalf("round %d: %v beyond what happened, %v", round, rest, err)
		}
		slices.Sort(got)
		all := slices.Sorted(slices.Values(want))
		if diff := cmp.Diff(all, got); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
	}
}

func TestEvents_thePastIsMergedByTime(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	hour := time.Now().Add(-time.Hour)
	at := func(second int) time.Time { return hour.Add(time.Duration(second) * time.Second) }
	for i, e := range engines {
		e.Handle("GET", "/events", func(w http.ResponseWriter, r *http.Request) {
			if i == 2 {
				http.Error(w, `{"message":"broken"}`, http.StatusInternalServerError)
				return
			}
			for _, second := range []int{i, 10 + i, 20, 20} {
				fmt.Fprintf(w, `{"Type":"container","Action":"a%d","Actor":{"ID":"x","Attributes":null},"time":%d,"timeNano":%d,"later":[1.0]}`+"\n", second, at(second).Unix(), at(second).UnixNano())
			}
		})
	}
	l := listen(t, c, cluster.EventOptions{Since: hour, Until: at(30)})
	got, err := l.end()
	// What one engine tells twice is one event; of two engines they are two.
	want := []string{"n1:a0:x", "n2:a1:x", "n1:a10:x", "n2:a11:x", "n1:a20:x", "n2:a20:x"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%s %v", diff, err)
	}
	asked := engines[0].Requests("GET /events?")
	if last := asked[len(asked)-1]; !strings.Contains(last, fmt.Sprintf("since=%d.", hour.Unix())) || !strings.Contains(last, fmt.Sprintf("until=%d.", at(30).Unix())) {
		t.Errorf("asked %s", last)
	}
}

func TestEvents_untilThePresent(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	c := enginetest.Cluster(t, cluster.Config{}, e)
	began := time.Now()
	e.Emit("container", "start", "c1", nil)
	enginetest.Eventually(t, "the event is there", func() bool {
		got, err := listen(t, c, cluster.EventOptions{Since: began, Until: time.Now()}).end()
		return err == nil && slices.Equal(got, []string{"n1:start:c1"})
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	// Without since it is what happens until then, and nothing of before.
	l := listen(t, c, cluster.EventOptions{Until: time.Now().Add(100 * time.Millisecond)})
	if got, err := l.end(); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEvents_filters(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	began := time.Now()
	all := listen(t, c, cluster.EventOptions{})
	engines[0].Emit("container", "start", "c1", map[string]string{"name": "web", "image": "busybox:1", "env": "prod"})
	engines[0].Emit("container", "exec_create: sh", "c1", map[string]string{"name": "web", "image": "busybox:1"})
	engines[0].Emit("container", "health_status: healthy", "c1", map[string]string{"name": "web", "image": "reg:5000/busybox"})
	engines[1].Emit("container", "die", "c2", map[string]string{"name": "/db", "image": "busybox:1"})
	engines[1].Emit("image", "pull", "busybox:1", map[string]string{"name": "busybox"})
	engines[1].Emit("network", "connect", "net1", map[string]string{"name": "front", "container": "c1"})
	engines[1].Emit("volume", "mount", "data", map[string]string{"container": "c1"})
	engines[1].Emit("daemon", "reload", "ID-n2", map[string]string{"name": "n2"})
	all.next(8)
	for _, tc := range []struct {
		name    string
		filters []string
		want    []string
	}{
		{"none", nil, []string{"start", "exec_create: sh", "health_status: healthy", "die", "pull", "connect", "mount", "reload"}},
		{"a type", []string{"type=volume"}, []string{"mount"}},
		{"two types", []string{"type=volume", "type=daemon"}, []string{"mount", "reload"}},
		{"an action", []string{"event=die"}, []string{"die"}},
		{"an action with all its values", []string{"event=health_status"}, []string{"health_status: healthy"}},
		{"an action with its value", []string{"event=health_status: healthy"}, []string{"health_status: healthy"}},
		{"another value", []string{"event=health_status: unhealthy"}, nil},
		{"an action with all its commands", []string{"event=exec_create"}, []string{"exec_create: sh"}},
		{"a container", []string{"container=c1"}, []string{"start", "exec_create: sh", "health_status: healthy"}},
		{"a container by name", []string{"container=db"}, []string{"die"}},
		{"a container by NODE/name", []string{"container=n1/web"}, []string{"start", "exec_create: sh", "health_status: healthy"}},
		{"a container of another node", []string{"container=n2/web"}, nil},
		{"a network", []string{"network=front"}, []string{"connect"}},
		{"a volume", []string{"volume=data"}, []string{"mount"}},
		{"a daemon", []string{"daemon=n2"}, []string{"reload"}},
		{"an image", []string{"image=busybox:1"}, []string{"start", "exec_create: sh", "die", "pull"}},
		{"an image without its tag", []string{"image=busybox"}, []string{"start", "exec_create: sh", "die", "pull"}},
		{"an image of a registry with a port", []string{"image=reg:5000/busybox"}, []string{"health_status: healthy"}},
		{"a label", []string{"label=env=prod"}, []string{"start"}},
		{"a node", []string{"node=n2", "type=container"}, []string{"die"}},
		{"a node by ID", []string{"node=ID-n1"}, []string{"start", "exec_create: sh", "health_status: healthy"}},
		{"a scope", []string{"scope=swarm"}, nil},
		{"two kinds, both", []string{"container=c1", "event=start", "event=die"}, []string{"start"}},
		{"kinds that exclude each other", []string{"container=c1", "volume=data"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			events, err := listen(t, c, cluster.EventOptions{Since: began, Until: time.Now(), Filters: apifilter.New(tc.filters...)}).end()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ev := range events {
				action := strings.SplitN(ev, ":", 2)[1]
				got = append(got, action[:strings.LastIndex(action, ":")])
			}
			// Of two engines, whose is first is all one.
			for i, ev := range got {
				if strings.HasSuffix(ev, ":busybox") {
					got[i] = strings.TrimSuffix(ev, ":busybox")
				}
			}
			slices.Sort(got)
			slices.Sort(tc.want)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	started := false
	err := c.Events(t.Context(), cluster.EventOptions{Filters: apifilter.New("color=red")}, func() { started = true }, nil)
	if errText(err) != "invalid filter 'color'" || started {
		t.Errorf("a filter that is none: %v, started %t", err, started)
	}
}

func TestEvents_endWithTheirListener(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{})
	c := enginetest.Cluster(t, cluster.Config{}, e)
	gone := errors.New("gone")
	done := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		done <- c.Events(t.Context(), cluster.EventOptions{}, func() { close(started) }, func(json.RawMessage) error { return gone })
	}()
	<-started
	enginetest.Eventually(t, "it listens", func() bool { return c.Info().NEventsListener == 1 })
	e.Emit("container", "start", "c1", nil)
	if err := <-done; !errors.Is(err, gone) || c.Info().NEventsListener != 0 {
		t.Errorf("%v, %d listeners", err, c.Info().NEventsListener)
	}
}
