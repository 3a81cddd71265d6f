package engine

import (
	"fmt"
	"slices"
)

// State is where an engine is in its life.
type State int

const (
	// Pending: known by address; not validated yet, or refused.
	Pending State = iota
	// Healthy: answers its probes; its inventory is current.
	Healthy
	// Unhealthy: was healthy and has failed its last probes.
	Unhealthy
	// Maintenance: taken out by hand; answers, but gets nothing new.
	Maintenance
	// Disconnected: removed from the cluster; final.
	Disconnected
)

// legal holds every move a state may make.
var legal = map[State][]State{
	Pending:     {Healthy, Maintenance, Disconnected},
	Healthy:     {Unhealthy, Maintenance, Pending, Disconnected},
	Unhealthy:   {Healthy, Maintenance, Pending, Disconnected},
	Maintenance: {Healthy, Unhealthy, Pending, Disconnected},
}

// CanBecome says whether to is a legal next state of s.
func (s State) CanBecome(to State) bool { return slices.Contains(legal[s], to) }

// String is the word that `docker info` shows.
func (s State) String() string {
	switch s {
	case Pending:
		return "Pending"
	case Healthy:
		return "Healthy"
	case Unhealthy:
		return "Unhealthy"
	case Maintenance:
		return "Maintenance"
	case Disconnected:
		return "Disconnected"
	default:
		return fmt.Sprintf("State(%d)", int(s))
	}
}
