package replica

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"
)

const (
	// DefaultPing is how often a manager that is no longer primary is asked
	// whether it is there. As long as it is, it may finish what it has begun.
	DefaultPing = 5 * time.Second
	// maxSilences is after how many questions without an answer it is given up.
	maxSilences = 3
)

// errSilent ends requests to a manager that was relieved and does not answer.
var errSilent = errors.New("the manager was relieved as primary and has stopped answering")

// peer is another manager with requests of ours under way.
type peer struct {
	address string
	ctx     context.Context // done when its requests are to end
	end     context.CancelCauseFunc
	// requests is guarded by the handler's mu; silences belongs to watch.
	requests, silences int
}

// enter counts a request to a manager.
func (h *Handler) enter(address string) (*peer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return nil, errStopping
	}
	p, ok := h.peers[address]
	if !ok {
		p = &peer{address: address}
		p.ctx, p.end = context.WithCancelCause(h.stop)
		h.peers[address] = p
	}
	p.requests++
	h.streams.Add(1)
	return p, nil
}

func (h *Handler) leave(p *peer) {
	h.mu.Lock()
	p.requests--
	if p.requests == 0 && h.peers[p.address] == p {
		h.forget(p)
	}
	h.mu.Unlock()
	h.streams.Done()
}

// forget is called under mu. Later requests to the same address are a new
// peer's.
func (h *Handler) forget(p *peer) {
	delete(h.peers, p.address)
	if p.requests == 0 {
		p.end(nil)
	}
}

// watch gives up managers that were relieved and are silent: connections to one
// that hangs, or whose cable was cut, would never end by themselves.
func (h *Handler) watch(ctx context.Context) {
	ticker := time.NewTicker(h.cfg.Ping)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var wg sync.WaitGroup
		for _, p := range h.relieved() {
			wg.Go(func() {
				if h.answers(ctx, p) {
					p.silences = 0
				} else if p.silences++; p.silences >= maxSilences {
					h.giveUpOn(p)
				}
			})
		}
		wg.Wait()
	}
}

// relieved are the peers in whose place another manager is known to lead.
func (h *Handler) relieved() []*peer {
	leader, known := h.cfg.Election.Primary()
	if !known {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*peer
	for address, p := range h.peers {
		if address != leader {
			out = append(out, p)
		}
	}
	return out
}

// answers tells whether a manager is there. If its machine refuses connections,
// the end of the old ones is known to it too, and needs no help: a manager that
// stops in good order takes no new ones while it finishes.
func (h *Handler) answers(ctx context.Context, p *peer) bool {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Ping)
	defer cancel()
	u := url.URL{Scheme: "http", Host: p.address, Path: "/_ping"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return true
	}
	// A connection of its own: an idle one may be half dead without knowing.
	req.Close = true
	resp, err := h.transport.RoundTrip(req)
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	resp.Body.Close()
	return true
}

func (h *Handler) giveUpOn(p *peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.peers[p.address] == p {
		h.forget(p)
	}
	p.end(fmt.Errorf("%w, %d times in a row", errSilent, p.silences))
}
