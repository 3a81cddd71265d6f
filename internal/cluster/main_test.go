package cluster_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/cluster"
)

// Nothing may go on after the tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fast finds failed engines within moments.
func fast() cluster.Config {
	return cluster.Config{ProbeInterval: 20 * time.Millisecond, FailureRetry: 1}
}
