package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/election"
	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/metrics"
	"github.com/skep/skep/internal/placement"
)

func TestReplication_whatAManagerAnswersItselfPassesTheDoorOnce(t *testing.T) {
	policy, err := placement.NewPolicy("spread", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(cluster.Config{Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	e, err := election.New(election.Config{Store: emptyStore{}, Advertise: "192.0.2.1:2375"})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m := &manager{
		cfg:         ManageConfig{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))},
		cluster:     c,
		metrics:     metrics.New("test", clusterCounts{c}),
		replication: &replication{election: e, logger: logger},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	h := m.front(ctx, ctx, &wg)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1.41/_ping", nil))
	if n := bytes.Count(log.Bytes(), []byte("msg=request ")); w.Code != http.StatusOK || n != 1 {
		t.Errorf("answered %d, and noted %d times:\n%s", w.Code, n, log.Bytes())
	}
}

// emptyStore is one in which nobody ever leads.
type emptyStore struct{ kvstore.Store }

func (emptyStore) Watch(context.Context, string, time.Duration) <-chan kvstore.Snapshot {
	none := make(chan kvstore.Snapshot)
	close(none)
	return none
}

func (emptyStore) Lock(ctx context.Context, _ kvstore.Pair, _ time.Duration) (kvstore.Lock, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (emptyStore) Get(context.Context, string) (string, bool, error) { return "", false, nil }
