package cluster_test

import (
	"net/http"
	"testing"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// recommending makes an engine recommend a builder.
func recommending(e *enginetest.Engine, builder string) {
	e.Handle("GET", "/_ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Builder-Version", builder)
	})
}

func TestBuilderVersion_isWhatAllEnginesRecommend(t *testing.T) {
	for name, tc := range map[string]struct {
		engines []string
		want    string
	}{
		"BuildKit where all do":     {[]string{"2", "2"}, "2"},
		"classic where one does":    {[]string{"2", "1"}, "1"},
		"classic where one is mute": {[]string{"2", ""}, "1"},
		"classic without engines":   {nil, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			engines := enginetest.StartMany(t, len(tc.engines))
			for i, builder := range tc.engines {
				recommending(engines[i], builder)
			}
			c := enginetest.Cluster(t, cluster.Config{}, engines...)
			for range 2 {
				if got := c.BuilderVersion(t.Context()); got != tc.want {
					t.Errorf("%s is recommended, want %s", got, tc.want)
				}
			}
		})
	}
}
