package cluster

import (
	"cmp"
	"slices"
	"time"
)

// hostState is what can be said of the engine that a copy is on.
type hostState int

const (
	// hostUnsure: it may come back in a moment, was taken out of the cluster by
	// hand, or has not been asked yet. Nothing is done to its containers, and
	// nothing instead of them.
	hostUnsure hostState = iota
	hostAnswers
	hostFailed
)

// replica is one container among those with the same swarm ID: the first, or
// one that was made because the engine of another had failed.
type replica struct {
	id, name, engine string
	host             hostState
	// generation is 0 for a container that a user made, and one more for each
	// time that it was moved.
	generation int
	running    bool
	started    bool // at least once, or running
	created    time.Time
}

// step is one thing to do about the replicas of a swarm ID.
type step int

const (
	stepMove      step = iota // make of anew on an engine that answers
	stepFinish                // start by, which was made to replace of
	stepSupersede             // stop of and give it another name: by is there instead
	stepDiscard               // remove of, which has never run: by is there instead
)

// action is a step and the replicas that it is about.
type action struct {
	step   step
	of, by replica
	run    bool // stepMove: what is made is to run
}

// decision is what to do about the replicas of one swarm ID, and which of them
// users must not see, as another has their name.
type decision struct {
	actions []action
	hidden  []string
}

// decide says what to do about the replicas of one swarm ID. At most one of
// them is to run; none is taken away but for another that is there and answers.
func decide(replicas []replica) decision {
	replicas = slices.Clone(replicas)
	slices.SortFunc(replicas, byPrecedence)
	var answering, failed, unsure []replica
	for _, r := range replicas {
		switch r.host {
		case hostAnswers:
			answering = append(answering, r)
		case hostFailed:
			failed = append(failed, r)
		default:
			unsure = append(unsure, r)
		}
	}
	switch {
	case len(unsure) > 0:
		// What it knows may change everything: that it runs, for one.
		return decision{hidden: olderThan(replicas[0], replicas)}
	case len(answering) > 0:
		return settle(answering, failed)
	case len(failed) > 0:
		return decision{
			actions: []action{{step: stepMove, of: failed[0], run: wanted(failed)}},
			hidden:  olderThan(failed[0], failed),
		}
	}
	return decision{}
}

// byPrecedence puts the latest generation first; among equals what runs, then
// what has run, then the older.
func byPrecedence(a, b replica) int {
	return cmp.Or(
		cmp.Compare(b.generation, a.generation),
		first(a.running, b.running), first(a.started, b.started),
		a.created.Compare(b.created), cmp.Compare(a.id, b.id))
}

func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// olderThan gives the replicas of other generations than the one shown.
func olderThan(shown replica, replicas []replica) (ids []string) {
	for _, r := range replicas {
		if r.generation != shown.generation {
			ids = append(ids, r.id)
		}
	}
	return ids
}

// wanted says whether one of the replicas is to run. One that was made to
// replace another and never got to run says nothing: the other does.
func wanted(sorted []replica) bool {
	for _, r := range sorted {
		if r.started || r.running {
			return r.running
		}
	}
	return false
}

// keeper is the replica that stays: the latest that runs; if none does, the
// latest that ever has; and else the first, which the user made himself.
func keeper(sorted []replica) replica {
	for _, r := range sorted {
		if r.running {
			return r
		}
	}
	for _, r := range sorted {
		if r.started {
			return r
		}
	}
	return sorted[len(sorted)-1]
}

// settle decides when at least one replica is on an engine that answers.
func settle(answering, failed []replica) decision {
	kept := keeper(answering)
	d := decision{hidden: olderThan(kept, slices.Concat(answering, failed))}
	for _, r := range answering {
		if r.id == kept.id || r.engine == kept.engine {
			continue
		}
		switch {
		case r.generation == kept.generation:
			// Not by us, as users may make two containers of one swarm ID; but
			// for what a move left behind whose outcome was not known.
			if r.generation > 0 && !r.started && kept.started && r.name == kept.name {
				d.actions = append(d.actions, action{step: stepDiscard, of: r, by: kept})
			}
		case !r.started && r.generation > 0:
			d.actions = append(d.actions, action{step: stepDiscard, of: r, by: kept})
		default:
			d.actions = append(d.actions, action{step: stepSupersede, of: r, by: kept})
		}
	}
	if len(answering) > 1 || len(failed) == 0 || kept.running {
		return d
	}
	// It is the only one there is. If one that failed ran, this one should: it
	// is a replacement that has not started yet, or the one before, come back.
	source := failed[0]
	replacement := kept.generation > source.generation && !kept.started
	before := kept.generation < source.generation
	if (replacement || before) && wanted(failed) {
		d.actions = append(d.actions, action{step: stepFinish, of: source, by: kept})
	}
	return d
}
