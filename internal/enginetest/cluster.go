package enginetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/placement"
)

// healthyWithin is how long engines may take to become healthy.
const healthyWithin = 20 * time.Second

// Cluster runs a cluster of the engines until the end of the test. It returns
// when all are healthy. What cfg does not say: spread over all filters.
func Cluster(t testing.TB, cfg cluster.Config, engines ...*Engine) *cluster.Cluster {
	t.Helper()
	if cfg.Policy == nil {
		policy, err := placement.NewPolicy("spread", nil, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Policy = policy
	}
	cfg.Dial = Dial(engines...)
	c, err := cluster.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	addresses := make([]string, len(engines))
	for i, e := range engines {
		addresses[i] = e.Address()
	}
	ctx, cancel := context.WithCancel(context.Background())
	lists := make(chan []string, 1)
	lists <- addresses
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx, lists)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	WaitHealthy(t, c, len(engines))
	return c
}

// WaitHealthy waits until n engines of the cluster are healthy.
func WaitHealthy(t testing.TB, c *cluster.Cluster, n int) {
	t.Helper()
	Eventually(t, "all engines are healthy", func() bool { return countStatus(c, "Healthy") == n })
}

// WaitUnhealthy waits until n engines of the cluster are unhealthy.
func WaitUnhealthy(t testing.TB, c *cluster.Cluster, n int) {
	t.Helper()
	Eventually(t, "engines are unhealthy", func() bool { return countStatus(c, "Unhealthy") == n })
}

func countStatus(c *cluster.Cluster, status string) (n int) {
	for _, row := range c.Info().SystemStatus {
		if strings.HasSuffix(row[0], "└ Status") && row[1] == status {
			n++
		}
	}
	return n
}

// Eventually waits until done says true: what an event brings has no other
// moment to be waited for.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(healthyWithin); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not come about within %s that %s", healthyWithin, what)
		}
	}
}
