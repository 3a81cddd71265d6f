package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/engine"
)

const (
	// strandedPath is where a primary tells its replicas of containers on engines
	// that do not answer. It tells no more than an inspect does, to no one else.
	strandedPath = "/skep/stranded"
	// A look every fifth of the TTL, but not more than one a second, is soon
	// enough: a replica takes a TTL to follow.
	looksPerTTL = 5
	lookMin     = time.Second
	// strandedTimeout is how long the primary may take to tell.
	strandedTimeout = 10 * time.Second
	// maxStranded bounds what is taken from it, in bytes.
	maxStranded = 64 << 20
)

// telling answers at strandedPath, and leaves the rest to next.
func telling(c *cluster.Cluster, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != strandedPath || r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c.Stranded()) // who asked has gone; he asks again
	})
}

// learn asks the primary, while that is another, for what it knows of engines
// that do not answer: a replica that was started since could not move their
// containers if it took over. It asks again and again until ctx is done.
func (r *replication) learn(ctx context.Context, c *cluster.Cluster, dial engine.DialFunc) {
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	ticker := time.NewTicker(max(lookMin, r.cfg.TTL/looksPerTTL))
	defer ticker.Stop()
	silent := false
	for {
		// The first look waits for nobody: the primary may be the next to fail.
		changed := r.election.Changed()
		if address, known := r.election.Primary(); known && !r.election.Acting() {
			records, err := strandedAt(ctx, transport, address)
			if n := c.Adopt(records); n > 0 {
				r.logger.Info("learned of containers on engines that are down", "containers", n, "from", address)
			}
			if err != nil && !silent && ctx.Err() == nil {
				r.logger.Warn("the primary does not say which containers are on engines that are down; should it fail before they are back, those that this manager has not met are not moved", "primary", address, "err", err)
			}
			silent, changed = err != nil, nil
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}

func strandedAt(ctx context.Context, transport *http.Transport, primary string) ([]cluster.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, strandedTimeout)
	defer cancel()
	u := url.URL{Scheme: "http", Host: primary, Path: strandedPath} // an address may have a zone
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStranded+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %.200s", resp.Status, body)
	case len(body) > maxStranded:
		return nil, fmt.Errorf("its answer has more than %d bytes", maxStranded)
	}
	var records []cluster.Record
	if err := json.Unmarshal(body, &records); err != nil {
		return nil, fmt.Errorf("its answer cannot be read: %w", err) // nor half of it
	}
	return records, nil
}
