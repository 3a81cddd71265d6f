package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/docker/go-units"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// Of an engine only the containers are read again that have changed: what is
// reserved must still be the sum of all.
func TestReserved_isTheSumOfTheContainers(t *testing.T) {
	const mib = 1 << 20
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	withBusybox(e)
	c := enginetest.Cluster(t, cluster.Config{}, e)
	random := rand.New(rand.NewPCG(1, 2))
	memory := map[string]int64{} // of each container
	add := func() {
		size := mib * int64(1+random.IntN(8))
		memory[e.AddContainer(enginetest.Container{Image: "busybox", HostConfig: map[string]any{"Memory": size}})] = size
	}
	one := func() string {
		for id := range memory {
			return id
		}
		return ""
	}
	for round := range 30 {
		for range 1 + random.IntN(4) {
			switch random.IntN(6) {
			case 0:
				size := mib * int64(1+random.IntN(8))
				id, err := create(t.Context(), c, "", fmt.Sprintf(`{"Image":"busybox","HostConfig":{"Memory":%d}}`, size))
				if err != nil {
					t.Fatal(err)
				}
				memory[id] = size
			case 1:
				if id := one(); id != "" && c.Remove(t.Context(), id, nil) == nil {
					delete(memory, id)
				}
			case 2:
				if id := one(); id != "" {
					e.RemoveContainer(id)
					delete(memory, id)
				}
			case 3: // more than are read one by one
				if round%10 == 0 {
					for range 80 {
						add()
					}
				}
			default:
				add()
			}
		}
		var sum int64
		for _, size := range memory {
			sum += size
		}
		want := units.BytesSize(float64(sum))
		enginetest.Eventually(t, fmt.Sprintf("in round %d %s are reserved", round, want), func() bool {
			reserved, _, _ := strings.Cut(rows(c, e.Address())["Reserved Memory"], " / ")
			return reserved == want
		})
	}
}
