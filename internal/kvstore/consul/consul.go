// Package consul keeps skep's keys in Consul, over the HTTP API of an agent.
//
// A key lives as long as the session that holds it: each announcement and each
// lock has a session of its own, with the behaviour "delete", so that the key
// goes when the session does. Consul promises to keep a session for its TTL and
// permits itself to keep it for twice that, which it does; so a session is asked
// for with half of the time that the key may live. Sessions have no health
// checks: a check would let Consul end a session before its TTL has run out, and
// a lock would be another's before its holder could know.
//
// The token of Consul's access control comes from where all clients of Consul
// look for it: CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE. CONSUL_HTTP_SSL,
// CONSUL_CACERT and the others hold as well, where Options says nothing.
//
// It never reads or writes anything but keys and sessions.
package consul

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skep/skep/internal/kvstore"
)

// defaultTimeout bounds each request that Consul should answer at once.
const defaultTimeout = 5 * time.Second

// Options say how to reach Consul.
type Options struct {
	// TLS is for an agent that speaks HTTPS. Nil leaves it to Consul's own
	// environment variables: plain HTTP unless CONSUL_HTTP_SSL is set.
	TLS *tls.Config
	// Timeout is for a request that should be answered at once; 0 means 5 s.
	Timeout time.Duration
	// LargestAnswer is how many bytes one answer may have; 0 means 32 MiB.
	LargestAnswer int
	// Logger hears, once, that Consul takes no TTL as short as asked for. Nil
	// means nobody does.
	Logger *slog.Logger
	// Dial connects to the agent; nil means over the network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Store is a connection to one agent of Consul.
type Store struct {
	endpoint  string
	timeout   time.Duration
	logger    *slog.Logger
	client    *api.Client
	transport *http.Transport

	// ctx ends with Close, and with it all that the store has started.
	ctx    context.Context
	cancel context.CancelFunc
	// running counts who waits for locks; nothing is added once closed is true.
	running sync.WaitGroup

	// mu guards what follows. It is never held during a request.
	mu     sync.Mutex
	closed bool
	// announced keeps each key that was ever announced here, which are few: one,
	// for a machine that joins.
	announced map[string]*announcement
	locks     map[*lock]struct{}
	// least is the shortest TTL that the server has said it takes; 0 as long as
	// it has refused none.
	least time.Duration
	// told is true once the logger has heard that TTLs are longer than asked for.
	told bool
}

var _ kvstore.Store = (*Store)(nil)

// New prepares a connection to the agent at endpoint, host:port. It sends
// nothing: an agent that cannot be reached shows with the first request.
func New(endpoint string, o Options) (*Store, error) {
	cfg := api.DefaultConfig()
	cfg.Address = endpoint
	if o.TLS != nil {
		cfg.Scheme = "https"
	}
	transport, err := newTransport(cfg, o)
	if err != nil {
		return nil, fmt.Errorf("consul %s: %w", endpoint, err)
	}
	cfg.HttpClient = newHTTPClient(transport, cmp.Or(o.LargestAnswer, defaultLargest))
	client, err := api.NewClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("consul %s: %w", endpoint, err)
	}
	s := &Store{
		endpoint:  endpoint,
		timeout:   cmp.Or(o.Timeout, defaultTimeout),
		logger:    cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		client:    client,
		transport: transport,
		announced: make(map[string]*announcement),
		locks:     make(map[*lock]struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// List gives the pairs below prefix, by key.
func (s *Store) List(ctx context.Context, prefix string) ([]kvstore.Pair, error) {
	dir := kvstore.Below(prefix)
	call, done := s.call(ctx, s.timeout)
	defer done()
	entries, _, err := s.client.KV().List(dir, new(api.QueryOptions).WithContext(call))
	if err != nil {
		return nil, s.explain(ctx, "list the keys below "+dir, err)
	}
	return pairs(entries, dir), nil
}

// Get gives the value of a key. A key that is a lock without a holder, as
// Consul's own lock command leaves it behind, is none.
func (s *Store) Get(ctx context.Context, key string) (string, bool, error) {
	call, done := s.call(ctx, s.timeout)
	defer done()
	entry, _, err := s.client.KV().Get(key, new(api.QueryOptions).WithContext(call))
	switch {
	case err != nil:
		return "", false, s.explain(ctx, "read the key "+key, err)
	case entry == nil, entry.Flags == api.LockFlagValue && entry.Session == "":
		return "", false, nil
	}
	return string(entry.Value), true, nil
}

// Close gives held locks back after their Lost channels are closed, and closes the
// connections. What is announced stays for its TTL, and so does a lock when Consul
// cannot be told. A watch ends with its own context, and until then says that the
// store is closed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	held := make([]*lock, 0, len(s.locks))
	for l := range s.locks {
		held = append(held, l)
	}
	s.mu.Unlock()

	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	var releases sync.WaitGroup
	for _, l := range held {
		releases.Go(func() { _ = l.Release(ctx) })
	}
	releases.Wait()
	s.running.Wait()
	s.transport.CloseIdleConnections()
	return nil
}

// bound ends a context with the store's life.
func (s *Store) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	if s.ctx.Err() != nil {
		// AfterFunc cancels in a while, and a request must not begin until then.
		cancel()
	}
	return ctx, func() { stop(); cancel() }
}

// call bounds a request: by the caller's context, by the store's life and by a
// time-out.
func (s *Store) call(ctx context.Context, timeout time.Duration) (context.Context, func()) {
	ctx, done := s.bound(ctx)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	return ctx, func() { cancel(); done() }
}

// pairs makes ours of Consul's entries. A key that ends in a slash is how people
// write a folder in Consul's user interface; it holds nothing.
func pairs(entries api.KVPairs, dir string) []kvstore.Pair {
	all := make([]kvstore.Pair, 0, len(entries))
	for _, e := range entries {
		if e == nil || strings.HasSuffix(e.Key, "/") || !strings.HasPrefix(e.Key, dir) {
			continue
		}
		all = append(all, kvstore.Pair{Key: e.Key, Value: string(e.Value)})
	}
	slices.SortFunc(all, func(a, b kvstore.Pair) int { return cmp.Compare(a.Key, b.Key) })
	return all
}
