package engine_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing may go on after the tests: what Run has started ends with it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
