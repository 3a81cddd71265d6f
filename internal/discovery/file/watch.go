package file

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/skep/skep/internal/discovery"
)

// settle is how long the file is left alone after the first sign of a change:
// an editor makes several for one save.
const settle = 50 * time.Millisecond

// watch is one call of Watch; its goroutine alone touches its fields.
type watch struct {
	*Backend
	updates chan discovery.Update

	known discovery.Entries // what was sent last
	sent  bool              // whether anything was

	notices notices
	deaf    string // why changes go unnoticed between heartbeats, "" if they don't
}

// run reads the file and sends what came of it until ctx is done.
func (w *watch) run(ctx context.Context) {
	defer close(w.updates)
	heartbeat := time.NewTicker(w.heartbeat)
	defer heartbeat.Stop()
	defer func() { w.notices.close() }()

	// Listen first, read then: a change in between is noticed.
	w.listen()
	w.reread(ctx)
	var settled <-chan time.Time // nil unless a change was noticed
	for {
		select {
		case <-ctx.Done():
			return
		case <-heartbeat.C:
			w.listen()
			settled = nil
			w.reread(ctx)
		case change := <-w.notices.events:
			if settled == nil && filepath.Base(change.Name) == filepath.Base(w.path) {
				settled = time.After(settle)
			}
		case err := <-w.notices.errs:
			w.logger.Debug("discovery file: a change may have been missed", "path", w.path, "error", err)
			if settled == nil {
				settled = time.After(settle)
			}
		case <-settled:
			settled = nil
			w.reread(ctx)
		}
	}
}

// listen sees to it that changes are noticed. The directory is watched, not
// the file: so a file that is replaced, or created later, is noticed as well.
// It is repeated at each heartbeat because the directory itself may come, or be
// replaced.
func (w *watch) listen() {
	var err error
	if w.notices.add == nil {
		w.notices, err = w.follow()
	}
	if err == nil {
		err = w.notices.add(filepath.Dir(w.path))
	}
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	if reason != "" && reason != w.deaf {
		w.logger.Warn("discovery file: changes are noticed at each heartbeat only",
			"path", w.path, "heartbeat", w.heartbeat, "error", err)
	}
	w.deaf = reason
}

// reread reads the file and sends an error, or a list that is new, or both.
// The error comes first: who wants but one update learns of it.
func (w *watch) reread(ctx context.Context) {
	list, bad, err := read(w.path)
	if err == nil && list.empty && len(w.known) > 0 {
		err = errEmptied
	}
	if err != nil {
		w.send(ctx, discovery.Update{Err: fmt.Errorf("failed to read '%s': %w", w.path, err)})
		return
	}
	entries := list.entries
	if bad != nil {
		w.send(ctx, discovery.Update{Err: fmt.Errorf("failed to read all of '%s': %w; no engine is removed until this is corrected", w.path, bad)})
		entries = withHeld(entries, w.known)
	}
	if !w.sent || !slices.Equal(entries, w.known) {
		w.known, w.sent = entries, true
		w.send(ctx, discovery.Update{Entries: entries})
	}
}

var errEmptied = errors.New("the file became empty; to remove all engines, leave a line with a comment in it")

// withHeld returns the entries and, behind them, those of the known ones that
// are missing: a bad line may be one of these, misspelled. A list that
// changes for long while a line stays bad must not grow for ever.
func withHeld(entries, known discovery.Entries) discovery.Entries {
	_, missing := entries.Diff(known)
	room := max(0, discovery.MaxEntries-len(entries))
	return slices.Concat(entries, missing[:min(len(missing), room)])
}

func (w *watch) send(ctx context.Context, u discovery.Update) {
	select {
	case w.updates <- u:
	case <-ctx.Done():
	}
}
