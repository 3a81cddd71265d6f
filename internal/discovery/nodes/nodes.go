// Package nodes is discovery by a list on the command line, which never
// changes while skep runs.
package nodes

import (
	"context"
	"errors"

	"github.com/skep/skep/internal/discovery"
)

// Backend is a fixed list of addresses.
type Backend struct {
	entries discovery.Entries
}

var _ discovery.Backend = (*Backend)(nil)

// New reads addresses and ranges of addresses between commas. There has to be
// one at least.
func New(list string) (*Backend, error) {
	entries, err := discovery.ParseEntries(list)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errors.New("the list of engines is empty: write addresses between commas, as in 10.0.0.1:2375,10.0.0.2:2375")
	}
	return &Backend{entries: entries}, nil
}

// Watch implements [discovery.Backend]: there is one list, and no error.
func (b *Backend) Watch(ctx context.Context) <-chan discovery.Update {
	updates := make(chan discovery.Update, 1)
	updates <- discovery.Update{Entries: b.entries}
	context.AfterFunc(ctx, func() { close(updates) })
	return updates
}

// Register implements [discovery.Backend]. Nobody can be announced here.
func (b *Backend) Register(context.Context, string) error { return discovery.ErrNotImplemented }

// Deregister implements [discovery.Backend].
func (b *Backend) Deregister(context.Context, string) error { return discovery.ErrNotImplemented }
