package placement_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/placement"
)

var allFilters = []string{"health", "port", "containerslots", "dependency", "affinity", "constraint", "whitelist"}

func TestNewPolicy_takesWhatTheCommandLineOffers(t *testing.T) {
	for _, tc := range []struct {
		strategy string
		filters  []string
		want     string
		asked    []string
	}{
		{"spread", nil, "spread", allFilters},
		{"binpack", []string{}, "binpack", allFilters},
		{"binpacking", nil, "binpack", allFilters},
		{"random", []string{"constraint", "health"}, "random", []string{"constraint", "health"}},
		{"spread", []string{"port", "health", "port"}, "spread", []string{"port", "health"}},
	} {
		p, err := placement.NewPolicy(tc.strategy, tc.filters, 0.05)
		if err != nil {
			t.Fatal(err)
		}
		if p.Strategy() != tc.want || !slices.Equal(p.Filters(), tc.asked) {
			t.Errorf("%s %v: got %s %v", tc.strategy, tc.filters, p.Strategy(), p.Filters())
		}
	}
}

func TestNewPolicy_refusesWhatItDoesNotKnow(t *testing.T) {
	for _, tc := range []struct {
		name, strategy string
		filters        []string
		overcommit     float64
		want           string
	}{
		{"a strategy", "x", nil, 0, `strategy not supported: "x" (use spread, binpack or random)`},
		{"no strategy", "", nil, 0, `strategy not supported: "" (use spread, binpack or random)`},
		{"a filter", "spread", []string{"health", "moon"}, 0, `filter not supported: "moon" (use health, port, containerslots, dependency, affinity, constraint or whitelist)`},
		{"all of a machine", "spread", nil, -1, "swarm.overcommit should be larger than -1, -1.000000 is invalid"},
		{"more than a machine", "spread", nil, -2, "swarm.overcommit should be larger than -1, -2.000000 is invalid"},
		{"not a number", "spread", nil, math.NaN(), "swarm.overcommit should be a finite number, NaN is invalid"},
		{"infinity", "spread", nil, math.Inf(1), "swarm.overcommit should be a finite number, +Inf is invalid"},
		{"minus infinity", "spread", nil, math.Inf(-1), "swarm.overcommit should be a finite number, -Inf is invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := placement.NewPolicy(tc.strategy, tc.filters, tc.overcommit)
			if err == nil || err.Error() != tc.want {
				t.Fatalf("got %v, want %s", err, tc.want)
			}
			if !errdefs.IsInvalidArgument(err) {
				t.Error("not an invalid argument")
			}
		})
	}
}

func TestPolicy_Filters_givesACopy(t *testing.T) {
	p := policy(t, "spread")
	p.Filters()[0] = "changed"
	if strings.Join(p.Filters(), " ") != strings.Join(allFilters, " ") {
		t.Errorf("got %v", p.Filters())
	}
}

func TestPolicy_Capacity_addsTheOvercommit(t *testing.T) {
	for _, tc := range []struct {
		name       string
		overcommit float64
		base, want int64
	}{
		{"two CPUs are overcommitted too", 0.05, 2 * core, 2_100_000_000},
		{"no percent is lost", 0.29, 100, 129},
		{"parts of a percent count", 0.001, 1000, 1001},
		{"nothing added", 0, math.MaxInt64, math.MaxInt64},
		{"some held back", -0.25, 8 * gib, 6 * gib},
		{"nearly all held back", -0.999999999999, 4, 0},
		{"nothing to add to", 0.05, 0, 0},
		{"less than nothing", 0.05, -5, 0},
		{"just over the largest", 0.05, math.MaxInt64 - 1, math.MaxInt64},
		{"far over the largest", 1e300, 8 * gib, math.MaxInt64},
		{"nearly all of the largest held back", math.Nextafter(-1, 0), math.MaxInt64, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := placement.NewPolicy("spread", nil, tc.overcommit)
			if err != nil {
				t.Fatal(err)
			}
			cpu, memory := p.Capacity(&placement.Node{CPU: tc.base, Memory: tc.base})
			if tc.name == "nearly all of the largest held back" {
				// A float64 near 2^63 is good for a thousand or so.
				if cpu < 0 || cpu > 2048 {
					t.Errorf("got %d, want nearly 0", cpu)
				}
				return
			}
			if cpu != tc.want || memory != tc.want {
				t.Errorf("got %d and %d, want %d", cpu, memory, tc.want)
			}
		})
	}
}
