package engine

import "sync"

// dirtySet says which parts of an inventory are to be read again.
type dirtySet struct {
	allContainers bool
	containers    map[string]uint64 // id → sequence number when it was marked
	images        bool
	networks      bool
	volumes       bool
	identity      bool
}

// inventory marks all but the identity.
func (d *dirtySet) inventory() {
	d.allContainers, d.images, d.networks, d.volumes = true, true, true, true
}

func (d *dirtySet) container(id string, seq uint64) {
	if d.containers == nil {
		d.containers = make(map[string]uint64)
	}
	d.containers[id] = max(d.containers[id], seq)
}

// add marks what o marks.
func (d *dirtySet) add(o dirtySet) {
	d.allContainers = d.allContainers || o.allContainers
	d.images = d.images || o.images
	d.networks = d.networks || o.networks
	d.volumes = d.volumes || o.volumes
	d.identity = d.identity || o.identity
	for id, seq := range o.containers {
		d.container(id, seq)
	}
}

// dirtyQueue collects marks until the refresher takes them all at once: a
// burst of events costs one refresh, and the queue never holds more than the
// inventory has objects.
type dirtyQueue struct {
	mu  sync.Mutex
	set dirtySet // guarded by mu
	// ready has room for one signal; never closed.
	ready chan struct{}
}

func newDirtyQueue() *dirtyQueue { return &dirtyQueue{ready: make(chan struct{}, 1)} }

func (q *dirtyQueue) mark(change func(*dirtySet)) {
	q.mu.Lock()
	change(&q.set)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *dirtyQueue) take() dirtySet {
	q.mu.Lock()
	defer q.mu.Unlock()
	set := q.set
	q.set = dirtySet{}
	return set
}
