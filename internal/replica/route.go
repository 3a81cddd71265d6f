package replica

import (
	"net/http"
	"strings"

	"github.com/skep/skep/internal/apiversion"
)

// servedByAll are the requests that every manager answers for itself: whether
// it lives, and how it sees the cluster. It goes by the whole path: a container
// may be called "info".
func servedByAll(r *http.Request) bool {
	if r.Method == http.MethodConnect || !strings.HasPrefix(r.URL.Path, "/") {
		return true // nothing that an engine knows; Local says so
	}
	switch path := withoutVersion(r.URL.Path); path {
	case "/_ping", "/info", "/debug":
		return true
	default:
		return strings.HasPrefix(path, "/debug/")
	}
}

// withoutVersion makes "/v1.41/info" "/info".
func withoutVersion(path string) string {
	_, rest, _ := apiversion.CutPath(path)
	return rest
}
