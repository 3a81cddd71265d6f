package hub

import (
	"container/list"
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxClients is how many clients the table holds; the one that was quiet for
// longest makes room, and begins anew when it comes again.
const maxClients = 10_000

// pace is how often a client may ask: rate a second, and so many at once.
type pace struct {
	rate  float64
	burst int
}

// clients gives each client its pace. A client is an IPv4 address or an IPv6
// network of 64 bits, which is the least that one customer gets.
type clients struct {
	pace pace

	mu    sync.Mutex
	known map[netip.Addr]*list.Element // guarded by mu
	order *list.List                   // of *client, the most recent first; guarded by mu
}

type client struct {
	addr    netip.Addr
	limiter *rate.Limiter
}

func newClients(p pace) *clients {
	return &clients{pace: p, known: make(map[netip.Addr]*list.Element), order: list.New()}
}

// allow says whether the client at remote ("host:port") may go on now, and
// after how many whole seconds if not.
func (c *clients) allow(remote string, now time.Time) (ok bool, retryAfter int) {
	limiter := c.limiter(clientOf(remote))
	r := limiter.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait <= 0 {
		return true, 0
	}
	r.CancelAt(now)
	return false, max(1, int(math.Ceil(wait.Seconds())))
}

func (c *clients) limiter(addr netip.Addr) *rate.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.known[addr]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*client).limiter
	}
	if len(c.known) >= maxClients {
		oldest := c.order.Remove(c.order.Back()).(*client)
		delete(c.known, oldest.addr)
	}
	one := &client{addr: addr, limiter: rate.NewLimiter(rate.Limit(c.pace.rate), c.pace.burst)}
	c.known[addr] = c.order.PushFront(one)
	return one.limiter
}

// clientOf is the zero address for what cannot be read, so that all of these
// share one pace.
func clientOf(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}
