package engine

import (
	"bufio"
	"bytes"
	"io"
	"sync"
)

// Shared is what the engines of one cluster have in common, so that each need
// not keep its own. The zero value is ready to use.
type Shared struct {
	words   words
	bodies  bodies
	readers pingReaders
}

// bodies lends buffers for answers that are read, decoded and not kept.
type bodies struct{ pool sync.Pool }

// maxKeptBody bounds the buffers that are kept: few answers are as long.
const maxKeptBody = 1 << 20

func (b *bodies) get() *bytes.Buffer {
	if buf, ok := b.pool.Get().(*bytes.Buffer); ok {
		return buf
	}
	return new(bytes.Buffer)
}

func (b *bodies) put(buf *bytes.Buffer) {
	if buf.Cap() > maxKeptBody {
		return
	}
	buf.Reset()
	b.pool.Put(buf)
}

// pingReaders lends what pings are read with: it is in use only while an answer
// is awaited.
type pingReaders struct{ pool sync.Pool }

func (r *pingReaders) get(from io.Reader) *bufio.Reader {
	if b, ok := r.pool.Get().(*bufio.Reader); ok {
		b.Reset(from)
		return b
	}
	return bufio.NewReaderSize(from, 1<<10)
}

func (r *pingReaders) put(b *bufio.Reader) {
	b.Reset(nil)
	r.pool.Put(b)
}

// maxWords bounds words: what is unique after all must not pile up there.
const maxWords = 16 << 10

// words keeps one copy of what many containers have in common: names of images,
// keys of labels, IDs of networks.
type words struct {
	mu    sync.Mutex
	known map[string]string // guarded by mu
}

// one gives the copy that is kept of s.
func (w *words) one(s string) string {
	if s == "" {
		return s
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if known, ok := w.known[s]; ok {
		return known
	}
	if w.known == nil || len(w.known) >= maxWords {
		w.known = make(map[string]string)
	}
	w.known[s] = s
	return s
}

// share replaces the words of c by the copies that are kept.
func (w *words) share(c *Container) {
	each := func(strings ...*string) {
		for _, s := range strings {
			*s = w.one(*s)
		}
	}
	each(&c.Image, &c.ImageID, &c.State.Status, &c.State.Health.Status,
		&c.Host.NetworkMode, &c.Host.IpcMode, &c.Host.PidMode, &c.Host.Isolation)
	for i := range c.Ports {
		each(&c.Ports[i].IP, &c.Ports[i].Type)
	}
	for i := range c.Mounts {
		each(&c.Mounts[i].Type)
	}
	for i := range c.Networks {
		each(&c.Networks[i].Name, &c.Networks[i].NetworkID)
	}
	for i := range c.Exposed {
		each(&c.Exposed[i])
	}
	if len(c.Labels) == 0 {
		return
	}
	labels := make(map[string]string, len(c.Labels))
	for key, value := range c.Labels {
		labels[w.one(key)] = w.one(value)
	}
	c.Labels = labels
}
