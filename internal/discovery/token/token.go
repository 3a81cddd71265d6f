// Package token is discovery by a token of a hub, as skep hub runs one: engines
// announce their addresses there under the token, managers ask for the list at
// each heartbeat.
//
// The package is a client and no more: what a hub keeps, and for how long, is
// its own affair. It does not trust a hub further than it must: an address
// from there is a host and a port, never a socket of this machine and never a
// range, and nothing that a hub says makes the token travel elsewhere.
//
// The facts are in classic-swarm.md, section 2.
package token

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/discovery"
)

// Backend is the list of one token.
type Backend struct {
	hub       *hub
	token     string
	heartbeat time.Duration
	ttl       time.Duration

	mu        sync.Mutex
	announced map[string]bool // what Register has sent, arrived or not; guarded by mu
}

var _ discovery.Backend = (*Backend)(nil)

// New returns the backend for what follows token:// in a URL: a token, with the
// address of its hub before it unless the options or the environment give one.
// It contacts nobody.
func New(rest string, opts discovery.Options) (*Backend, error) {
	opts = opts.WithDefaults()
	at, err := parseLocation(rest)
	if err != nil {
		return nil, err
	}
	base, err := baseURL(at, opts.Opts, os.Getenv)
	if err != nil {
		return nil, err
	}
	h, err := newHub(base, opts.Opts)
	if err != nil {
		return nil, err
	}
	return &Backend{hub: h, token: at.token, heartbeat: opts.Heartbeat, ttl: opts.TTL, announced: make(map[string]bool)}, nil
}

// Create asks the hub that the options or the environment name for a new
// token.
func Create(ctx context.Context, opts discovery.Options) (string, error) {
	base, err := baseURL(location{}, opts.Opts, os.Getenv)
	if err != nil {
		return "", err
	}
	h, err := newHub(base, opts.Opts)
	if err != nil {
		return "", err
	}
	defer h.close()
	return h.create(ctx)
}

// Watch implements [discovery.Backend].
func (b *Backend) Watch(ctx context.Context) <-chan discovery.Update {
	w := &watch{Backend: b, updates: make(chan discovery.Update)}
	go w.run(ctx)
	return w.updates
}

// Register implements [discovery.Backend].
func (b *Backend) Register(ctx context.Context, addr string) error {
	// One that times out may have arrived all the same.
	b.mu.Lock()
	b.announced[addr] = true
	b.mu.Unlock()
	defer b.hub.close()
	seconds := int64((b.ttl + time.Second - 1) / time.Second)
	query := url.Values{"ttl": {strconv.FormatInt(seconds, 10)}}
	_, _, _, err := b.hub.call(ctx, http.MethodPost, b.hub.clusterURL(b.token, query), addr, http.Header{"Content-Type": {"text/plain"}})
	return err
}

// Deregister implements [discovery.Backend].
func (b *Backend) Deregister(ctx context.Context, addr string) error {
	b.mu.Lock()
	announced := b.announced[addr]
	b.mu.Unlock()
	if !announced {
		return nil
	}
	defer b.hub.close()
	_, _, _, err := b.hub.call(ctx, http.MethodDelete, b.hub.clusterURL(b.token, url.Values{"addr": {addr}}), "", nil)
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	b.mu.Lock()
	delete(b.announced, addr)
	b.mu.Unlock()
	return nil
}

// watch is one call of Watch; its goroutine alone touches its fields.
type watch struct {
	*Backend
	updates chan discovery.Update

	last  addresses         // what the hub has said
	known discovery.Entries // what was sent last
	sent  bool              // whether anything was
}

// run asks the hub at once and at each heartbeat, until ctx is done.
func (w *watch) run(ctx context.Context) {
	defer close(w.updates)
	defer w.hub.close()
	heartbeat := time.NewTicker(w.heartbeat)
	defer heartbeat.Stop()
	for {
		w.ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-heartbeat.C:
		}
	}
}

// ask sends an error, or a list that is new, or both: the error first, so that
// who wants but one update learns of it.
func (w *watch) ask(ctx context.Context) {
	last, err := w.hub.list(ctx, w.token, w.last)
	if ctx.Err() != nil {
		return // the end of ctx is no fault of the hub
	}
	if err != nil {
		w.send(ctx, discovery.Update{Err: err})
		return
	}
	w.last = last
	entries, err := readEntries(last.list)
	if err != nil {
		w.send(ctx, discovery.Update{Err: w.hub.failed(err)})
	}
	if !w.sent || !slices.Equal(entries, w.known) {
		w.known, w.sent = entries, true
		w.send(ctx, discovery.Update{Entries: entries})
	}
}

func (w *watch) send(ctx context.Context, u discovery.Update) {
	select {
	case w.updates <- u:
	case <-ctx.Done():
	}
}

// readEntries gives the good addresses of a list, and tells of a bad one: one
// engine's mistake must not hide the others.
func readEntries(list []string) (discovery.Entries, error) {
	var b discovery.Builder
	var bad error
	for _, text := range list {
		if err := b.AddAddress(text); err != nil && bad == nil {
			bad = fmt.Errorf("an address there is left out: %w", err)
		}
	}
	return b.Entries(), bad
}
