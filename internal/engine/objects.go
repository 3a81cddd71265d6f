package engine

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// versioned holds a list that is always replaced whole. The answer to a later
// question is never overwritten by that to an earlier one.
type versioned[T any] struct {
	mu  sync.Mutex
	seq uint64 // of the question that value answers; guarded by mu
	// sum is that of the answer's bytes, 0 when it is not known; guarded by mu.
	sum uint64
	v   atomic.Pointer[T]
	// changed is called, in order, after each replacement.
	changed func()
}

func (l *versioned[T]) put(seq uint64, value T) { l.putSummed(seq, 0, value) }

// putSummed is put for an answer whose bytes have this sum.
func (l *versioned[T]) putSummed(seq, sum uint64, value T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.seq {
		return
	}
	l.seq, l.sum = seq, sum
	l.v.Store(&value)
	l.changed()
}

// confirm says whether the answer to question seq, which has this sum, is the
// one that is held. Then it need not even be decoded.
func (l *versioned[T]) confirm(seq, sum uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sum == 0 || sum != l.sum || seq < l.seq {
		return false
	}
	l.seq = seq
	return true
}

func (l *versioned[T]) get() T {
	if p := l.v.Load(); p != nil {
		return *p
	}
	var zero T
	return zero
}

// containerTable holds the containers. Answers of the engine may overtake one
// another; each carries the sequence number its question was given, and only a
// later question's answer replaces an earlier one's. If the engine's state
// changed between two such questions, an event tells and a third is asked.
type containerTable struct {
	// order serialises changes and the calls of changed.
	order   sync.Mutex
	changed func(put, gone []*Container)

	mu   sync.RWMutex
	byID map[string]*Container // guarded by mu
	// full is the number of the last question about all containers. What that
	// did not find is not there, and no earlier answer brings it back; guarded
	// by mu.
	full uint64
	// gone holds what has vanished since: the number of the question that found
	// it gone; guarded by mu.
	gone map[string]uint64
	// sum is that of the last answer about all containers, 0 when something has
	// changed since, or when an equal answer would have more to tell; guarded
	// by mu.
	sum uint64
}

func newContainerTable(changed func(put, gone []*Container)) *containerTable {
	return &containerTable{changed: changed, byID: map[string]*Container{}, gone: map[string]uint64{}}
}

func (t *containerTable) get(id string) *Container {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byID[id]
}

// all gives every container, in no order.
func (t *containerTable) all() []*Container {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Values(t.byID))
}

// applied is the sequence number of the last answer about id.
func (t *containerTable) applied(id string) uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.appliedLocked(id)
}

func (t *containerTable) appliedLocked(id string) uint64 {
	if c := t.byID[id]; c != nil {
		return c.seq
	}
	return t.gone[id]
}

// put applies what a question about single containers found.
func (t *containerTable) put(seq uint64, fresh []*Container, gone []string) {
	t.order.Lock()
	defer t.order.Unlock()
	t.mu.Lock()
	put, left := t.putLocked(fresh), t.dropLocked(seq, gone)
	t.mu.Unlock()
	t.tell(put, left)
}

// replace applies what a question about all containers found: those listed
// exist, of which fresh were read anew; all others are gone. sum is that of the
// answer's bytes, 0 when it is not known.
func (t *containerTable) replace(seq, sum uint64, listed map[string]bool, fresh []*Container) {
	t.order.Lock()
	defer t.order.Unlock()
	t.mu.Lock()
	put := t.putLocked(fresh)
	var absent []string
	for id := range t.byID {
		if !listed[id] {
			absent = append(absent, id)
		}
	}
	left := t.dropLocked(seq, absent)
	t.fullReadLocked(seq)
	if t.shows(seq, listed) {
		t.sum = sum
	}
	t.mu.Unlock()
	t.tell(put, left)
}

// confirm says whether the answer to question seq about all containers, which
// has this sum, shows what the table holds. Then it need not even be decoded.
func (t *containerTable) confirm(seq, sum uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sum == 0 || sum != t.sum || seq < t.full {
		return false
	}
	t.fullReadLocked(seq)
	return true
}

func (t *containerTable) fullReadLocked(seq uint64) {
	t.full = max(t.full, seq)
	maps.DeleteFunc(t.gone, func(_ string, at uint64) bool { return at <= t.full })
}

// shows says whether the table now holds what the answer to question seq lists,
// with nothing of later questions among it, and all of it inspected; mu is held.
func (t *containerTable) shows(seq uint64, listed map[string]bool) bool {
	if seq < t.full || len(listed) != len(t.byID) {
		return false
	}
	for id, c := range t.byID {
		if !listed[id] || c.seq > seq || c.listedOnly {
			return false
		}
	}
	return true
}

// clear forgets everything, and the answers to all questions before seq: the
// engine is another one now, or removed.
func (t *containerTable) clear(seq uint64) {
	t.order.Lock()
	defer t.order.Unlock()
	t.mu.Lock()
	left := slices.Collect(maps.Values(t.byID))
	t.byID, t.gone, t.full, t.sum = map[string]*Container{}, map[string]uint64{}, seq, 0
	t.mu.Unlock()
	t.tell(nil, left)
}

func (t *containerTable) putLocked(fresh []*Container) (put []*Container) {
	for _, c := range fresh {
		if _, here := t.byID[c.ID]; c.seq < t.appliedLocked(c.ID) || !here && c.seq < t.full {
			continue
		}
		t.byID[c.ID] = c
		t.sum = 0
		delete(t.gone, c.ID)
		put = append(put, c)
	}
	return put
}

func (t *containerTable) dropLocked(seq uint64, ids []string) (left []*Container) {
	for _, id := range ids {
		if seq < t.appliedLocked(id) {
			continue
		}
		if c := t.byID[id]; c != nil {
			left = append(left, c)
			delete(t.byID, id)
			t.sum = 0
		}
		t.gone[id] = seq
	}
	return left
}

func (t *containerTable) tell(put, gone []*Container) {
	if len(put)+len(gone) > 0 {
		t.changed(put, gone)
	}
}

// ImageSet is the images of one engine. It is immutable.
type ImageSet struct {
	All  []*Image
	byID map[string]*Image
	// byRef holds tags and digests as the engine writes them.
	byRef map[string]*Image
}

// NewImageSet indexes images, which become its own.
func NewImageSet(images []*Image) ImageSet {
	s := ImageSet{All: images, byID: make(map[string]*Image, len(images)), byRef: make(map[string]*Image, len(images))}
	for _, i := range images {
		s.byID[i.ID] = i
		for _, refs := range [][]string{i.RepoTags, i.RepoDigests} {
			for _, r := range refs {
				if !strings.HasPrefix(r, "<none>") {
					s.byRef[r] = i
				}
			}
		}
	}
	return s
}

// ByID gives the image with exactly this ID ("sha256:…"), or nil.
func (s ImageSet) ByID(id string) *Image { return s.byID[id] }

// ByRef gives the image with exactly this tag or digest, written as the engine
// lists it ("busybox:latest"), or nil.
func (s ImageSet) ByRef(ref string) *Image { return s.byRef[ref] }

func sortedKeys[V any](m map[string]V) []string {
	if len(m) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(m))
}
