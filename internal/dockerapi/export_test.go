package dockerapi

import "net/http"

// AuthorizedPath gives the path that routes see behind plugins, and the URI
// that the plugins are told; "" for a request that is refused.
func AuthorizedPath(r *http.Request) (routed, told string) {
	a := NewAuthorizer(nil)
	out, q, err := a.read(nil, r)
	if err != nil {
		return "", ""
	}
	return out.URL.Path, q.RequestURI
}
