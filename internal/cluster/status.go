package cluster

import (
	"fmt"
	"time"

	"github.com/docker/go-units"

	"github.com/skep/skep/internal/engine"
)

// hostDown is the status of a container whose engine does not answer.
const hostDown = "Host Down"

// statusText is the sentence that an engine would give for a state at this
// moment. It is made here because an engine's own is true only when it is said.
// now is by the engine's clock.
func statusText(s *engine.ContainerState, now time.Time) string {
	switch {
	case s.Running || s.Restarting || s.Paused:
		return runningText(s, now)
	case s.Status == "removing":
		return "Removal In Progress"
	case s.Dead || s.Status == "dead":
		return "Dead"
	case s.StartedAt.IsZero():
		return "Created"
	case s.FinishedAt.IsZero():
		return ""
	default:
		return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, ago(now, s.FinishedAt))
	}
}

func runningText(s *engine.ContainerState, now time.Time) string {
	if s.Restarting {
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, ago(now, s.FinishedAt))
	}
	up := "Up " + ago(now, s.StartedAt)
	if s.Paused {
		return up + " (Paused)"
	}
	switch s.Health.Status {
	case "", "none":
		return up
	case "starting":
		return up + " (health: starting)"
	default:
		return up + " (" + s.Health.Status + ")"
	}
}

func ago(now, then time.Time) string { return units.HumanDuration(max(0, now.Sub(then))) }

// engineNow is this moment by the engine's clock.
func engineNow(e *engine.Engine) time.Time {
	now := time.Now()
	if id := e.Identity(); id != nil {
		now = now.Add(id.Skew)
	}
	return now
}
