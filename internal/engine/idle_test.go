// The race detector of Go 1.26 crashes on timers inside a synctest bubble
// (fixed in Go 1.27), so these tests stay out of the race run.
//go:build !race

package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/engine"
)

// What one manager costs an engine where nothing happens: a stream of events,
// pings, and four lists a refresh; no container is inspected again.
func TestIdle_anEngineIsAskedLittle(t *testing.T) {
	inBubble(t, func(f *fake, cfg *engine.Config) {
		cfg.RefreshMin, cfg.RefreshMax = 30*time.Second, time.Minute
		for i := range 200 {
			f.put(fakeContainer{ID: fmt.Sprint("c", i)})
		}
	}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		settle(time.Minute)
		f.set(func() { f.requests = nil })
		settle(time.Hour)
		count := map[string]int{}
		f.set(func() {
			for _, r := range f.requests {
				switch _, path, _ := strings.Cut(r, " "); {
				case strings.Contains(path, "/_ping"):
					count["pings"]++
				case strings.Contains(path, "/events"):
					count["streams"]++
				case strings.HasSuffix(path, "/json") && strings.Contains(path, "/containers/c"):
					count["inspects"]++
				case strings.HasSuffix(path, "/info"), strings.HasSuffix(path, "/version"):
					count["identities"]++
				default:
					count["lists"]++
				}
			}
		})
		// A probe each 3 s, a refresh each 45 s of four lists, an identity each 5
		// minutes; a half more, for chance.
		for what, most := range map[string]int{"pings": 1800, "streams": 0, "inspects": 0, "identities": 36, "lists": 480} {
			if count[what] > most {
				t.Errorf("%d %s in an hour", count[what], what)
			}
		}
		if count["pings"] == 0 || count["lists"] == 0 {
			t.Errorf("nobody looks after it: %v", count)
		}
	})
}
