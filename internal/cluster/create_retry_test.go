package cluster_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/skep/skep/internal/enginetest"
)

// What has failed on one engine may succeed on another, so the next attempt is
// made there; on the same one only where no other will do.
func TestCreate_isTriedAgainOnAnotherEngine(t *testing.T) {
	for _, tc := range []struct {
		name    string
		env     string
		retries int
		want    []int // requests to n1, n2, n3
		created bool
	}{
		{"the next one", "", 1, []int{1, 1, 0}, true},
		{"the first one only", "constraint:node==n1", 2, []int{3, 0, 0}, false},
		{"no retry", "", 0, []int{1, 0, 0}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			engines := enginetest.StartMany(t, 3)
			withBusybox(engines...)
			engines[0].Fail("POST", "/containers/create", http.StatusInternalServerError, "no space left on device")
			cfg := exactly(t, "spread")
			cfg.CreateRetry = tc.retries
			c := enginetest.Cluster(t, cfg, engines...)
			_, err := create(t.Context(), c, "web", `{"Image":"busybox","Env":["`+tc.env+`"]}`)
			if (err == nil) != tc.created {
				t.Errorf("error %v", err)
			}
			asked := make([]int, len(engines))
			for i, e := range engines {
				asked[i] = len(e.Requests("POST /containers/create"))
			}
			if fmt.Sprint(asked) != fmt.Sprint(tc.want) {
				t.Errorf("asked %v times", asked)
			}
		})
	}
	t.Run("all of them", func(t *testing.T) {
		engines := enginetest.StartMany(t, 3)
		withBusybox(engines...)
		for _, e := range engines {
			e.Fail("POST", "/containers/create", http.StatusInternalServerError, "no space left on device")
		}
		cfg := exactly(t, "spread")
		cfg.CreateRetry = 3
		c := enginetest.Cluster(t, cfg, engines...)
		if _, err := create(t.Context(), c, "web", `{"Image":"busybox"}`); errText(err) != "no space left on device" {
			t.Errorf("error %v", err)
		}
		for _, e := range engines {
			if n := len(e.Requests("POST /containers/create")); n == 0 {
				t.Errorf("%s was not asked", e.Name())
			}
		}
	})
	for _, status := range []int{http.StatusBadRequest, http.StatusConflict} {
		t.Run(fmt.Sprint("not after a ", status), func(t *testing.T) {
			engines := enginetest.StartMany(t, 2)
			withBusybox(engines...)
			engines[0].Fail("POST", "/containers/create", status, "it cannot be")
			cfg := exactly(t, "spread")
			cfg.CreateRetry = 3
			c := enginetest.Cluster(t, cfg, engines...)
			if _, err := create(t.Context(), c, "web", `{"Image":"busybox"}`); errText(err) != "it cannot be" {
				t.Errorf("error %v", err)
			}
			if n := len(engines[0].Requests("POST /containers/create")) + len(engines[1].Requests("POST /containers/create")); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}
