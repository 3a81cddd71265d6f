package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/election"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/stores"
	"github.com/skep/skep/internal/replica"
)

// Replication is what a manager among others is told of itself.
type Replication struct {
	TTL       time.Duration // how long a primary that is silent stays the primary
	Advertise string        // host:port at which the others reach this one
	Discovery string        // URL of the store that holds the election
	Opts      map[string]string
}

// replication is a manager's part among others. A nil one is that of a manager
// that is alone.
type replication struct {
	cfg      Replication
	election *election.Election
	store    kvstore.Store
	logger   *slog.Logger
}

func newReplication(cfg *Replication, logger *slog.Logger) (*replication, error) {
	if cfg == nil {
		return nil, nil
	}
	scheme, rest, _ := strings.Cut(cfg.Discovery, "://")
	store, prefix, err := stores.Open(scheme, rest, cfg.Opts, logger)
	if err != nil {
		return nil, fmt.Errorf("open the store of the election: %w", err)
	}
	e, err := election.New(election.Config{
		Store: store, Prefix: prefix, Advertise: cfg.Advertise, TTL: cfg.TTL, Logger: logger,
	})
	if err != nil {
		store.Close()
		return nil, err
	}
	return &replication{cfg: *cfg, election: e, store: store, logger: logger}, nil
}

func (r *replication) close() {
	if r == nil {
		return
	}
	if err := r.store.Close(); err != nil {
		r.logger.Warn("close the store of the election", "err", err)
	}
}

// handover is how long a primary that is stopped goes on being it, for the
// orders that it is carrying out. What takes longer has been sent to its engine
// and goes on; a cluster without a primary takes no orders.
const handover = time.Second

// front is what answers at this manager: local while it is the primary, else
// the primary. Its goroutines end with ctx, and wg waits for them. When stopping
// is done, this manager gives up its place while requests are still under way.
func (r *replication) front(ctx, stopping context.Context, wg *sync.WaitGroup, c *cluster.Cluster, local http.Handler, dial engine.DialFunc) http.Handler {
	local = telling(c, local)
	wg.Go(func() { r.learn(ctx, c, dial) })
	h := replica.New(replica.Config{
		Election: r.election, Local: local, Advertise: r.cfg.Advertise, Dial: dial,
		Wait: r.cfg.TTL + 10*time.Second, Ping: max(time.Second, r.cfg.TTL/4), Logger: r.logger, Writing: r.whileActing,
	})
	wg.Go(func() { _ = h.Run(ctx) })
	candidate, withdraw := context.WithCancel(ctx)
	wg.Go(func() { _ = r.election.Run(candidate) })
	wg.Go(func() {
		defer withdraw()
		select {
		case <-stopping.Done():
			quiet, cancel := context.WithTimeout(ctx, handover)
			defer cancel()
			h.Quiet(quiet)
		case <-ctx.Done():
		}
	})
	return h
}

// whileActing keeps what a request has not yet sent to an engine from being
// sent when the lock that it was taken under is lost.
func (r *replication) whileActing(ctx context.Context) context.Context {
	term := r.election.ActingContext()
	return engine.WithGate(ctx, func() error {
		if err := context.Cause(term); err != nil {
			return err
		}
		// By the clock: whoever ends the term may not have run yet.
		if !r.election.Acting() {
			return election.ErrNotActing
		}
		return nil
	})
}

// term is whileActing for what the cluster does by itself, and says whether that
// may be anything now. The context comes first: it is that of this term or of
// none, should another begin in between.
func (r *replication) term(ctx context.Context) (_ context.Context, acting bool) {
	ctx = r.whileActing(ctx)
	return ctx, r.election.Acting()
}
