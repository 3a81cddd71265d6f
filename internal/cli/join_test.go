package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skep/skep/internal/discovery"
)

// Everything is wrong at once; each step repairs what was told.
func TestJoin_checksItsFlagsInTheOrderThatPeopleKnow(t *testing.T) {
	f := joinFlags{advertise: "", delay: "x", heartbeat: "x", ttl: "x", opts: []string{"x"}}
	var args []string
	for _, step := range []struct {
		want   string
		repair func()
	}{
		{"discovery required to join a cluster.", func() { args = []string{"bogus://x"} }},
		{"missing mandatory --advertise flag", func() { f.advertise = "a" }},
		{"--advertise should be of the form", func() { f.advertise = "any host text:1" }},
		{"invalid --delay: ", func() { f.delay = "-1s" }},
		{"--delay should not be", func() { f.delay = "1s" }},
		{"invalid --heartbeat: ", func() { f.heartbeat = "1ms" }},
		{"--heartbeat should be", func() { f.heartbeat = "1s" }},
		{"invalid --ttl: ", func() { f.ttl = "1s" }},
		{"--ttl must be strictly", func() { f.ttl = "2s" }},
		{"--discovery-opt must", func() { f.opts = nil }},
		{"discovery service not supported", func() { args = []string{"a:1"} }},
	} {
		_, err := f.joining(args, noEnv, slog.New(slog.DiscardHandler))
		if !strings.HasPrefix(message(err), step.want) {
			t.Fatalf("error %v, want %q", err, step.want)
		}
		step.repair()
	}
	if _, err := f.joining(args, noEnv, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("all is repaired, and yet: %v", err)
	}
}

func TestJoin_takesTheAddressFromTheEnvironment(t *testing.T) {
	f := joinFlags{delay: "0s", heartbeat: "60s", ttl: "180s"}
	env := map[string]string{"SWARM_ADVERTISE": "swarm:1", "SWARM_DISCOVERY": "a:1"}
	for _, want := range []string{"swarm:1", "skep:1"} {
		j, err := f.joining(nil, func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))
		if err != nil || j.addr != want {
			t.Errorf("%v, %v; want %s", j, err, want)
		}
		env["SKEP_ADVERTISE"] = "skep:1"
	}
}

// recorder is a discovery service that does what it is told to, and remembers
// when it was called.
type recorder struct {
	discovery.Backend
	register, deregister func(context.Context) error

	mu     sync.Mutex
	calls  []string // guarded by mu
	closed int
	begin  time.Time
}

var _ io.Closer = (*recorder)(nil)

func (r *recorder) Close() error {
	r.closed++
	return nil
}

func (r *recorder) note(call string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call+" "+time.Since(r.begin).String())
}

func (r *recorder) Register(ctx context.Context, addr string) error {
	r.note("+" + addr)
	return r.register(ctx)
}

func (r *recorder) Deregister(ctx context.Context, addr string) error {
	r.note("-" + addr)
	return r.deregister(ctx)
}

func (r *recorder) want(t *testing.T, calls ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.calls, calls) {
		t.Errorf("calls %q, want %q", r.calls, calls)
	}
}

func fails(context.Context) error { return errors.New("no quorum") }
func works(context.Context) error { return nil }
func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
