// Package kv is discovery by a key-value store: each engine is a key below one
// path, whose value is its address, kept for as long as someone announces it.
// The package knows no store in particular.
//
// A store that fails takes no engines away: the last known ones stay. Nor does
// one that comes back take them away at once, because then all announcements
// may have run out unrenewed: each engine has a heartbeat to be announced again.
package kv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/kvstore"
)

const (
	// OptPath is the option that replaces DefaultPath.
	OptPath = "kv.path"

	// DefaultPath is where the keys are, below the prefix of the store's URL.
	DefaultPath = "docker/swarm/nodes"
)

// Backend is the engines in one store.
type Backend struct {
	open func() (kvstore.Store, error)
	path string
	opts discovery.Options

	mu        sync.Mutex // guards what follows
	store     kvstore.Store
	announced map[string]bool // while it is not empty, store is open
	using     int             // calls that use store
	closed    bool
}

var (
	_ discovery.Backend = (*Backend)(nil)
	_ io.Closer         = (*Backend)(nil)
)

// New returns the backend for the keys below prefix. Each watch opens a store of
// its own, and closes it; Register opens one more, which the last Deregister or
// Close closes.
func New(open func() (kvstore.Store, error), prefix string, opts discovery.Options) (*Backend, error) {
	opts = opts.WithDefaults()
	below := DefaultPath
	if p, ok := opts.Opts[OptPath]; ok {
		if below = strings.Trim(p, "/"); below == "" || path.Clean("/"+below) != "/"+below {
			return nil, fmt.Errorf("%s=%s is no path of keys: write names between single slashes, as in %s", OptPath, p, DefaultPath)
		}
	}
	return &Backend{
		open:      open,
		path:      path.Join(strings.Trim(prefix, "/"), below),
		opts:      opts,
		announced: make(map[string]bool),
	}, nil
}

// Watch implements [discovery.Backend].
func (b *Backend) Watch(ctx context.Context) <-chan discovery.Update {
	w := &watch{Backend: b, updates: make(chan discovery.Update)}
	go w.run(ctx)
	return w.updates
}

// Register implements [discovery.Backend].
func (b *Backend) Register(ctx context.Context, addr string) error {
	key, err := b.key(addr)
	if err != nil {
		return err
	}
	store, err := b.use(addr)
	if err != nil {
		return err
	}
	defer b.unuse()
	return store.Announce(ctx, kvstore.Pair{Key: key, Value: addr}, b.opts.TTL)
}

// Deregister implements [discovery.Backend].
func (b *Backend) Deregister(ctx context.Context, addr string) error {
	key, err := b.key(addr)
	if err != nil {
		return err
	}
	b.mu.Lock()
	if !b.announced[addr] {
		b.mu.Unlock()
		return nil
	}
	store := b.store
	b.using++
	b.mu.Unlock()
	defer b.unuse()

	if err := store.Withdraw(ctx, key); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.announced, addr)
	return nil
}

// use gives the store for an announcement of addr, and opens it if need be.
func (b *Backend) use(addr string) (kvstore.Store, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, errors.New("announce " + addr + ": this discovery was closed")
	}
	if b.store == nil {
		store, err := b.open()
		if err != nil {
			return nil, err
		}
		b.store = store
	}
	b.announced[addr] = true
	b.using++
	return b.store, nil
}

// unuse closes the store if nothing needs it any more.
func (b *Backend) unuse() {
	b.mu.Lock()
	b.using--
	unneeded := b.unneeded()
	b.mu.Unlock()
	if unneeded != nil {
		if err := unneeded.Close(); err != nil {
			b.opts.Logger.Debug("discovery: close the store", "error", err)
		}
	}
}

// unneeded takes the store away if nothing needs it any more; nil if something
// does. The caller holds mu, and closes the store without it.
func (b *Backend) unneeded() kvstore.Store {
	if b.using > 0 || len(b.announced) > 0 {
		return nil
	}
	store := b.store
	b.store = nil
	return store
}

// Close ends the connection that announcements have opened, once the calls
// that use it have ended. What is announced is not taken back, and lasts as long
// as the store keeps it without a connection. A watch ends with its own context.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	clear(b.announced)
	unneeded := b.unneeded()
	b.mu.Unlock()
	if unneeded == nil {
		return nil
	}
	return unneeded.Close()
}

// key is where an address is kept.
func (b *Backend) key(addr string) (string, error) {
	if _, err := discovery.ParseAddress(addr); err != nil {
		return "", fmt.Errorf("announce: %w", err)
	}
	return path.Join(b.path, addr), nil
}
