package election_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/election"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	first  = "192.0.2.1:3376"
	second = "192.0.2.2:3376"
)

// manager is an election that runs until the end of the test.
type manager struct {
	*election.Election
	link *client
	stop func()
}

func join(t *testing.T, s *server, advertise string, change ...func(*election.Config)) *manager {
	t.Helper()
	m := &manager{link: &client{server: s}}
	cfg := election.Config{Store: m.link, Prefix: "cluster1", Advertise: advertise, TTL: ttl}
	for _, c := range change {
		c(&cfg)
	}
	e, err := election.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Election = e
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	m.stop = func() { cancel(); <-done }
	t.Cleanup(m.stop)
	return m
}

// ttl is short, for tests in real time; in a bubble it is only a number.
const ttl = 600 * time.Millisecond

// await waits for what must come by itself.
func (m *manager) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.After(20 * ttl)
	for {
		changed := m.Changed()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("%s: has not come true", what)
		}
	}
}

func (m *manager) follows(address string) func() bool {
	return func() bool { got, ok := m.Primary(); return ok && got == address }
}

func TestElection_makesOneManagerPrimary_andTellsTheOther(t *testing.T) {
	s := newServer()
	a := join(t, s, first)
	a.await(t, "the only manager acts", a.Acting)
	b := join(t, s, second)
	b.await(t, "the second follows the first", b.follows(first))
	if b.Acting() {
		t.Error("two managers act")
	}
	if address, ok := a.Primary(); !ok || address != first {
		t.Errorf("the primary says that %q leads", address)
	}
	if role, primary := a.Role(); role != "primary" || primary != "" {
		t.Errorf("the primary is described as %q of %q", role, primary)
	}
	if role, primary := b.Role(); role != "replica" || primary != first {
		t.Errorf("the replica is described as %q of %q", role, primary)
	}
}

func TestElection_anOrderlyStopHandsOverWithoutWaitingForTheTTL(t *testing.T) {
	s := newServer()
	long := func(c *election.Config) { c.TTL = time.Hour }
	a := join(t, s, first, long)
	a.await(t, "the first acts", a.Acting)
	acting := a.ActingContext()
	b := join(t, s, second, long)
	b.await(t, "the second follows", b.follows(first))
	a.stop()
	if a.Acting() || acting.Err() == nil {
		t.Error("a manager that was stopped acts")
	}
	if _, ok := a.Primary(); ok {
		t.Error("a manager that was stopped claims to know who leads")
	}
	b.await(t, "the second takes over", b.Acting)
}

func TestElection_aLostLeaseEndsWhatWasBegunUnderIt(t *testing.T) {
	s := newServer()
	a := join(t, s, first)
	a.await(t, "the first acts", a.Acting)
	b := join(t, s, second)
	b.await(t, "the second follows", b.follows(first))
	acting := a.ActingContext()
	if acting.Err() != nil {
		t.Fatal("the primary must not act:", context.Cause(acting))
	}
	a.link.set(true, 0)
	b.await(t, "the second takes over", b.Acting)
	if a.Acting() {
		t.Error("both managers act")
	}
	select {
	case <-acting.Done():
	case <-time.After(ttl):
		t.Fatal("work of a manager that has lost its lease goes on")
	}
	if cause := context.Cause(acting); !errors.Is(cause, election.ErrNotActing) {
		t.Errorf("the work was ended because of %v", cause)
	}
	if late := a.ActingContext(); !errors.Is(context.Cause(late), election.ErrNotActing) {
		t.Error("work can be begun by a manager that has lost its lease")
	}
	a.link.set(false, 0)
	a.await(t, "the first follows the second", a.follows(second))
	b.stop()
	a.await(t, "the first leads again", a.Acting)
	if acting.Err() == nil {
		t.Error("work of the first term goes on in the second")
	}
}

func TestElection_aKeyTakenByHandDeposesThePrimary(t *testing.T) {
	t.Run("overwritten", func(t *testing.T) {
		s := newServer()
		a := join(t, s, first)
		a.await(t, "the manager acts", a.Acting)
		s.overwrite(second)
		a.await(t, "it follows whom the store names", a.follows(second))
	})
	t.Run("deleted", func(t *testing.T) {
		s := newServer()
		a := join(t, s, first)
		a.await(t, "the manager acts", a.Acting)
		acting := a.ActingContext()
		s.wipe()
		select {
		case <-acting.Done():
		case <-time.After(10 * ttl):
			t.Fatal("a manager acts without a lock")
		}
		a.await(t, "it wins the lock again", a.Acting)
	})
}

func TestElection_neverFollowsWhatIsNoAddress(t *testing.T) {
	s := newServer()
	s.overwrite("user@evil/path")
	blocked := func(c *election.Config) { c.Settle = time.Hour }
	a := join(t, s, first, blocked)
	s.overwrite(second)
	a.await(t, "a good address is followed", a.follows(second))
	s.overwrite("user@evil/path")
	a.await(t, "a bad one is not", func() bool { _, ok := a.Primary(); return !ok })
}

func TestElection_beforeItRunsKnowsNobody(t *testing.T) {
	e, err := election.New(election.Config{Store: &client{server: newServer()}, Advertise: first})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := e.Primary(); ok || e.Acting() || e.ActingContext().Err() == nil {
		t.Error("a manager that has not campaigned leads or follows")
	}
}

func TestNew_refusesWhatCannotWork(t *testing.T) {
	store := &client{server: newServer()}
	for name, cfg := range map[string]election.Config{
		"no store":       {Advertise: first},
		"no address":     {Store: store},
		"no port":        {Store: store, Advertise: "192.0.2.1"},
		"a negative TTL": {Store: store, Advertise: first, TTL: -1},
	} {
		if _, err := election.New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
