package cluster

import (
	"sync"

	"github.com/skep/skep/internal/engine"
)

// manyHeld bounds the images that heldImages remembers: those that containers
// are being made of at a time are few.
const manyHeld = 64

// heldImages remembers, from one create to the next, where images are that
// must be used there. The zero value is ready.
type heldImages struct {
	mu    sync.Mutex
	at    uint64              // the engines' last change before byRef was found; guarded by mu
	byRef map[string][]holder // guarded by mu
}

func (h *heldImages) get(image string, at uint64) (by []holder, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at != at {
		return nil, false
	}
	by, known = h.byRef[image]
	return by, known
}

func (h *heldImages) put(image string, at uint64, by []holder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at != at || h.byRef == nil || len(h.byRef) >= manyHeld {
		h.at, h.byRef = at, map[string][]holder{}
	}
	h.byRef[image] = by
}

// held gives the engines that have an image which no registry can give, so that
// its containers must be made there; nil where that leaves out no engine. It was
// asked for by its ID, or was never in a registry as far as the engines that
// have it know.
func (c *Cluster) held(image string) []holder {
	at := c.changes.Load()
	by, known := c.heldImages.get(image, at)
	if !known {
		by = c.findHeld(parseImageRef(image))
		c.heldImages.put(image, at, by)
	}
	return by
}

func (c *Cluster) findHeld(ref imageRef) []holder {
	all := c.all()
	choosable := 0
	for _, m := range all {
		s := m.State()
		if s != engine.Pending && s != engine.Disconnected {
			choosable++
		}
		// The first that knows a registry for it says enough.
		if s == engine.Healthy || s == engine.Maintenance {
			if img := ref.byName(m.Images()); img != nil && len(img.RepoDigests) > 0 {
				return nil
			}
		}
	}
	holders := c.holders(ref)
	if len(holders) == choosable {
		return nil
	}
	return holders
}
