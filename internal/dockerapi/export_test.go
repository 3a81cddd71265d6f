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

// PluginURL gives where a plugin's .json file says that it is.
func PluginURL(spec []byte) (string, error) {
	p, err := parsePluginJSON("p", spec)
	if err != nil {
		return "", err
	}
	return p.base, nil
}
