package discovery

import (
	"context"
	"log/slog"
	"time"

	"github.com/containerd/errdefs"
)

// The durations that [Options.WithDefaults] sets.
const (
	DefaultHeartbeat = 60 * time.Second
	DefaultTTL       = 180 * time.Second
)

// ErrNotImplemented is what Register returns where addresses are not announced
// but written down by hand.
var ErrNotImplemented = errdefs.ErrNotImplemented.WithMessage("not implemented in this discovery service")

// Backend is one place that knows the addresses of engines. All its methods
// may be called at the same time.
type Backend interface {
	// Watch sends the full list at once and again whenever it changes, and
	// errors as they come. When ctx is done it closes the channel, and nothing
	// that it started runs any more. A reader that is slow misses lists in
	// between, never the latest. Each call is a watch of its own.
	Watch(ctx context.Context) <-chan Update

	// Register announces addr for the time of Options.TTL. It is to be called
	// again every Options.Heartbeat. Backends to which nothing can be announced
	// return ErrNotImplemented.
	Register(ctx context.Context, addr string) error

	// Deregister takes back what this Backend has announced of addr, at once
	// rather than after its TTL. Nothing announced is no error. Backends to
	// which nothing can be announced return ErrNotImplemented.
	Deregister(ctx context.Context, addr string) error
}

// Update is either a new list or an error, and an error leaves the list as it
// was: a source that cannot be read never takes engines away.
type Update struct {
	// Entries is the full list from now on, if Err is nil. Then an empty list
	// means what it says. The slice is the receiver's to keep, but not to
	// change.
	Entries Entries
	Err     error
}

// Options are common to all backends. The zero value is usable.
type Options struct {
	// Heartbeat is the time between two looks at a source that cannot tell of
	// changes by itself, between two tries at one that fails, and between two
	// announcements.
	Heartbeat time.Duration

	// TTL is for how long an announced address is listed without being
	// announced again.
	TTL time.Duration

	// Opts are the --discovery-opt of the command line. A backend ignores
	// those it does not know.
	Opts map[string]string

	// Logger gets what is worth knowing but no error of the list; nil discards
	// it.
	Logger *slog.Logger
}

// WithDefaults returns o with its unset fields set.
func (o Options) WithDefaults() Options {
	if o.Heartbeat <= 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.TTL <= 0 {
		o.TTL = DefaultTTL
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
