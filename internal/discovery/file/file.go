// Package file is discovery by a text file: one address, or range of
// addresses, a line. The file is read again when it changes and at each
// heartbeat.
//
// The package is careful with a running cluster, because taking an engine from
// the list takes its containers out of sight. A file that cannot be read, or
// that was emptied to the last byte (as a shell does before it writes), leaves
// the list alone. While lines of it are bad, engines are added but none
// removed. Each of these is reported until it is corrected.
package file

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/skep/skep/internal/discovery"
)

// Backend is the list in one file.
type Backend struct {
	path      string
	heartbeat time.Duration
	logger    *slog.Logger
	follow    func() (notices, error) // tests put another in its place
}

var _ discovery.Backend = (*Backend)(nil)

// New returns the backend for the file at path, which need not exist yet.
func New(path string, opts discovery.Options) (*Backend, error) {
	if path == "" {
		return nil, errors.New("the path of the list of engines is missing: write it with three slashes, as in file:///etc/skep/engines")
	}
	opts = opts.WithDefaults()
	return &Backend{
		path:      filepath.Clean(path),
		heartbeat: opts.Heartbeat,
		logger:    opts.Logger,
		follow:    followFiles,
	}, nil
}

// Watch implements [discovery.Backend].
func (b *Backend) Watch(ctx context.Context) <-chan discovery.Update {
	w := &watch{Backend: b, updates: make(chan discovery.Update)}
	go w.run(ctx)
	return w.updates
}

// Register implements [discovery.Backend]. The file is its author's alone.
func (b *Backend) Register(context.Context, string) error { return discovery.ErrNotImplemented }

// Deregister implements [discovery.Backend].
func (b *Backend) Deregister(context.Context, string) error { return discovery.ErrNotImplemented }
