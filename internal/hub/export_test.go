package hub

import (
	"log/slog"
	"net/http"
	"time"
)

// ParsePath tells what a path names: "", "health", "clusters" or "cluster".
func ParsePath(path string) (kind, token string) {
	k, token := parsePath(path)
	return []string{"", "health", "clusters", "cluster"}[k], token
}

var ParseAddress = parseAddress

// Store is the tables with the clock in the test's hand.
type Store struct{ s *store }

func OpenStore(path string, limits Limits) (Store, error) {
	s, err := openStore(path, limits)
	return Store{s}, err
}

func (s Store) Create(now time.Time) (string, error) { return s.s.create(now) }
func (s Store) Announce(token, addr string, now time.Time, ttl time.Duration) error {
	return s.s.announce(token, addr, now, ttl)
}
func (s Store) List(token string, now time.Time) ([]string, error) { return s.s.list(token, now) }
func (s Store) Withdraw(token, addr string, now time.Time) error {
	return s.s.withdraw(token, addr, now)
}
func (s Store) Remove(token string) error  { return s.s.remove(token) }
func (s Store) Sweep(now time.Time) error  { return s.s.sweep(now) }
func (s Store) Revive(now time.Time) error { return s.s.revive(now) }
func (s Store) Close() error               { return s.s.db.Close() }
func (s Store) Front(rate float64) http.Handler {
	return newFront(s.s, rate, slog.New(slog.DiscardHandler))
}

// Counts are those that limits are checked against.
func (s Store) Counts() (tokens, addresses uint64) {
	tx, err := s.s.db.Begin(false)
	if err != nil {
		return 0, 0
	}
	defer func() { _ = tx.Rollback() }()
	t := open(tx)
	return t.count(clusterCount), t.count(addressCount)
}

// Pace is a table of clients.
type Pace struct{ c *clients }

func NewPace(rate float64, burst int) Pace                    { return Pace{newClients(pace{rate: rate, burst: burst})} }
func (p Pace) Allow(remote string, now time.Time) (bool, int) { return p.c.allow(remote, now) }
func (p Pace) Len() int                                       { return len(p.c.known) }

const MaxClients = maxClients
