package replica

import "context"

func (h *Handler) beginOrder() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.orders++
}

func (h *Handler) endOrder() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.orders--; h.orders == 0 && h.idle != nil {
		close(h.idle)
		h.idle = nil
	}
}

// Quiet waits until no order is being carried out by this manager, or ctx is
// done. A primary that waits for it before it gives up its place refuses nobody
// whom it has promised to serve.
func (h *Handler) Quiet(ctx context.Context) {
	h.mu.Lock()
	if h.orders == 0 {
		h.mu.Unlock()
		return
	}
	if h.idle == nil {
		h.idle = make(chan struct{})
	}
	idle := h.idle
	h.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
