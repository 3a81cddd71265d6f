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

// share is the part of the marks that one refresher takes. Containers have one of
// their own: a question about the rest may hang, as that about volumes does when
// one of their plugins hangs, and containers change all the time.
type share int

const (
	containersShare share = iota
	restShare
	shares
)

// take gives the marks of a share, and leaves the others.
func (d *dirtySet) take(s share) (taken dirtySet) {
	if s == containersShare {
		taken.allContainers, taken.containers = d.allContainers, d.containers
		d.allContainers, d.containers = false, nil
		return taken
	}
	taken = *d
	taken.allContainers, taken.containers = false, nil
	*d = dirtySet{allContainers: d.allContainers, containers: d.containers}
	return taken
}

// dirtyQueue collects marks until a refresher takes those of its share all at
// once: a burst of events costs one refresh, and the queue never holds more than
// the inventory has objects.
type dirtyQueue struct {
	mu  sync.Mutex
	set dirtySet // guarded by mu
	// ready has room for one signal for each share; never closed.
	ready [shares]chan struct{}
}

func newDirtyQueue() *dirtyQueue {
	q := new(dirtyQueue)
	for s := range q.ready {
		q.ready[s] = make(chan struct{}, 1)
	}
	return q
}

func (q *dirtyQueue) mark(change func(*dirtySet)) {
	q.mu.Lock()
	change(&q.set)
	containers := q.set.allContainers || len(q.set.containers) > 0
	rest := q.set.images || q.set.networks || q.set.volumes || q.set.identity
	q.mu.Unlock()
	if containers {
		signal(q.ready[containersShare], struct{}{})
	}
	if rest {
		signal(q.ready[restShare], struct{}{})
	}
}

func (q *dirtyQueue) take(s share) dirtySet {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.set.take(s)
}
