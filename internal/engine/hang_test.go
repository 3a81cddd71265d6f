// The race detector of Go 1.26 crashes on timers inside a synctest bubble
// (fixed in Go 1.27), so these tests stay out of the race run.
//go:build !race

package engine_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/skep/skep/internal/engine"
)

// An engine may answer its pings and never one certain question. That question
// is given up after a while and asked again later, and holds up nothing of what
// is told of containers.
func TestRefresher_aQuestionThatIsNeverAnsweredIsGivenUp(t *testing.T) {
	for _, path := range []string{"/images/json", "/networks", "/volumes", "/info"} {
		t.Run(path, func(t *testing.T) {
			inBubble(t, func(f *fake, cfg *engine.Config) {
				cfg.RefreshMin, cfg.RefreshMax = 30*time.Second, time.Minute
			}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
				f.on("GET "+path, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
				f.set(func() { f.requests = nil })
				for i := range 10 {
					settle(30 * time.Second)
					id := fmt.Sprint("c", i)
					f.put(fakeContainer{ID: id})
					f.emit("create", id)
					settle(100 * time.Millisecond)
					if e.Container(id) == nil {
						t.Fatalf("after %d rounds new containers are not shown at once", i)
					}
					settle(2 * time.Minute)
				}
				prefix := "GET /v1.44" + path
				if path == "/info" {
					prefix = "GET " + path
				}
				if n := f.asked(prefix); n < 3 || n > 60 {
					t.Errorf("asked %d times in 25 minutes", n)
				}
				f.on("GET "+path, nil)
				settle(10 * time.Minute)
				if s := e.Status(); s.State != engine.Healthy || s.Err != nil {
					t.Errorf("it does not recover: %s, %v", s.State, s.Err)
				}
			})
		})
	}
}
