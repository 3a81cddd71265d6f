package kv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/kvstore"
)

// watch is one call of Watch; its goroutine alone touches its fields.
type watch struct {
	*Backend
	updates chan discovery.Update

	known discovery.Entries // what was sent last
	sent  bool              // whether anything was
	bad   string            // the bad entries that were reported last

	listed discovery.Entries // what the store says
	failed bool              // whether the last thing it said was an error
	grace  *time.Timer       // until it fires, no engine is taken away
	kind   bool              // whether grace runs
}

// run sends what a store of its own tells, until ctx is done.
func (w *watch) run(ctx context.Context) {
	defer close(w.updates)
	w.grace = time.NewTimer(w.opts.Heartbeat)
	w.grace.Stop()
	defer w.grace.Stop()
	for ctx.Err() == nil {
		store, err := w.open()
		if err == nil {
			w.follow(ctx, store)
			if err := store.Close(); err != nil {
				w.opts.Logger.Debug("discovery: close the store", "error", err)
			}
			return
		}
		// Files of certificates may come back.
		w.fail(ctx, err)
		select {
		case <-ctx.Done():
		case <-time.After(w.opts.Heartbeat):
		}
	}
}

func (w *watch) follow(ctx context.Context, store kvstore.Store) {
	snapshots := store.Watch(ctx, w.path, w.opts.Heartbeat)
	for {
		select {
		case <-w.grace.C:
			w.kind = false
			w.list(ctx)
		case s, open := <-snapshots:
			switch {
			case !open:
				return
			case s.Err != nil:
				w.fail(ctx, s.Err)
			default:
				w.take(ctx, s.Pairs)
			}
		}
	}
}

func (w *watch) fail(ctx context.Context, err error) {
	w.failed = true
	w.grace.Stop()
	w.kind = false
	w.send(ctx, discovery.Update{Err: err})
}

// take takes over what the store says, and reports what is no address.
func (w *watch) take(ctx context.Context, pairs []kvstore.Pair) {
	var list discovery.Builder
	var bad []string
	for _, p := range pairs {
		if err := list.AddAddress(strings.TrimSpace(p.Value)); err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", p.Key, err))
		}
	}
	w.listed = list.Entries()
	if w.failed {
		w.failed, w.kind = false, true
		w.grace.Reset(w.opts.Heartbeat)
	}
	if report := strings.Join(bad, "\n"); report != w.bad {
		if w.bad = report; report != "" {
			w.send(ctx, discovery.Update{Err: badEntries(bad)})
		}
	}
	w.list(ctx)
}

// badEntries names the first of them: the store may hold anything.
func badEntries(bad []string) error {
	if len(bad) == 1 {
		return fmt.Errorf("an entry of the store is no address of an engine and is left out: %s", bad[0])
	}
	return fmt.Errorf("%d entries of the store are no addresses of engines and are left out, the first is %s", len(bad), bad[0])
}

// list sends the engines if they are not the ones that were sent last.
func (w *watch) list(ctx context.Context) {
	entries := w.listed
	if w.kind {
		_, missing := entries.Diff(w.known)
		room := max(0, discovery.MaxEntries-len(entries))
		entries = slices.Concat(entries, missing[:min(len(missing), room)])
	}
	added, removed := entries.Diff(w.known)
	if w.sent && len(added) == 0 && len(removed) == 0 {
		return
	}
	w.known, w.sent = entries, true
	w.send(ctx, discovery.Update{Entries: slices.Clone(entries)})
}

func (w *watch) send(ctx context.Context, u discovery.Update) {
	select {
	case w.updates <- u:
	case <-ctx.Done():
	}
}
