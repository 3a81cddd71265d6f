package cluster

import (
	"testing"
	"time"

	"github.com/skep/skep/internal/engine"
)

func TestStatusText_isWhatAnEngineWouldSay(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	state := func(change func(*engine.ContainerState)) *engine.ContainerState {
		s := &engine.ContainerState{Status: "running", Running: true, StartedAt: now.Add(-3 * time.Minute)}
		change(s)
		return s
	}
	health := func(status string) *engine.ContainerState {
		return state(func(s *engine.ContainerState) { s.Health.Status = status })
	}
	stopped := func(change func(*engine.ContainerState)) *engine.ContainerState {
		return state(func(s *engine.ContainerState) {
			*s = engine.ContainerState{Status: "exited", StartedAt: now.Add(-time.Hour), FinishedAt: now.Add(-2 * time.Hour), ExitCode: 137}
			change(s)
		})
	}
	for _, tc := range []struct {
		name  string
		state *engine.ContainerState
		want  string
	}{
		{"running", state(func(*engine.ContainerState) {}), "Up 3 minutes"},
		{"just started", state(func(s *engine.ContainerState) { s.StartedAt = now }), "Up Less than a second"},
		{"started by a clock ahead of ours", state(func(s *engine.ContainerState) { s.StartedAt = now.Add(time.Hour) }), "Up Less than a second"},
		{"paused", state(func(s *engine.ContainerState) { s.Paused = true }), "Up 3 minutes (Paused)"},
		{"paused and healthy", state(func(s *engine.ContainerState) { s.Paused, s.Health.Status = true, "healthy" }), "Up 3 minutes (Paused)"},
		{"restarting", state(func(s *engine.ContainerState) {
			s.Restarting, s.ExitCode, s.FinishedAt = true, 1, now.Add(-5*time.Second)
		}), "Restarting (1) 5 seconds ago"},
		{"no health", health("none"), "Up 3 minutes"},
		{"starting", health("starting"), "Up 3 minutes (health: starting)"},
		{"healthy", health("healthy"), "Up 3 minutes (healthy)"},
		{"unhealthy", health("unhealthy"), "Up 3 minutes (unhealthy)"},
		{"exited", stopped(func(*engine.ContainerState) {}), "Exited (137) 2 hours ago"},
		{"created", &engine.ContainerState{Status: "created"}, "Created"},
		{"dead", stopped(func(s *engine.ContainerState) { s.Status, s.Dead = "dead", true }), "Dead"},
		{"dead by its status alone", stopped(func(s *engine.ContainerState) { s.Status = "dead" }), "Dead"},
		{"being removed", stopped(func(s *engine.ContainerState) { s.Status = "removing" }), "Removal In Progress"},
		{"being removed, and dead", stopped(func(s *engine.ContainerState) { s.Status, s.Dead = "removing", true }), "Removal In Progress"},
		{"ended at a time that nobody knows", stopped(func(s *engine.ContainerState) { s.FinishedAt = time.Time{} }), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := statusText(tc.state, now); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
