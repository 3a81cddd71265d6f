package engine

import (
	"context"
	"slices"
	"time"
)

// gatherFor is how long marks of events gather before they are carried out.
// Whoever changes something through this engine reads it again himself, and
// the event of it comes meanwhile: what he has read need not be read twice.
const gatherFor = 10 * time.Millisecond

// markedAt is the number from which on an answer about a container makes up
// for an event of it: that of the last question, or 0 where any will do. An ID
// is never given again, so who has seen a container has seen it after its
// creation.
func (e *Engine) markedAt(action string) uint64 {
	if action == "create" {
		return 0
	}
	return e.seq.Load()
}

// ForgetContainer takes a container out of the inventory that the engine has
// said is removed, as RefreshContainer would, but without a question.
func (e *Engine) ForgetContainer(id string) {
	e.noteVolumes(nil, []string{id})
	e.containers.put(e.seq.Add(1), nil, []string{id})
}

// noteVolumes marks the volumes when containers come that have some, or go:
// not every engine has an event for volumes without a name. It is called before
// the table changes.
func (e *Engine) noteVolumes(fresh []*Container, gone []string) {
	comes := slices.ContainsFunc(fresh, func(c *Container) bool { return hasVolume(c) && e.containers.get(c.ID) == nil })
	goes := slices.ContainsFunc(gone, func(id string) bool { c := e.containers.get(id); return c != nil && hasVolume(c) })
	if comes || goes {
		e.dirty.mark(func(d *dirtySet) { d.volumes = true })
	}
}

func hasVolume(c *Container) bool {
	return slices.ContainsFunc(c.Mounts, func(m Mount) bool { return m.Type == "volume" })
}

// gather waits until a burst of events is likely over; false when ctx ended.
func gather(ctx context.Context) bool { return sleep(ctx, gatherFor) }
