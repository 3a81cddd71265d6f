package token

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/skep/skep/internal/discovery"
)

// The options of this backend, and the environment variable that stands in for
// HubOption.
const (
	HubOption      = "token.hub"        // https://host:port
	CAOption       = "token.cacertfile" // the only CA whose certificates a hub may have
	InsecureOption = "token.insecure"   // "true" allows http:// off loopback
	HubVariable    = "SKEP_HUB"
)

// apiPath is where a hub's API begins if its address says nothing else.
const apiPath = "/v1"

// maxToken bounds what is taken for a token, of whatever hub.
const maxToken = 128

// location is what a token:// URL says.
type location struct {
	host  string // "host" or "host:port"; "" if the URL names no hub
	path  string // of the API, "" if the URL says nothing
	token string
}

// parseLocation reads what follows token://, as [host[:port]/[path/]]TOKEN.
func parseLocation(rest string) (location, error) {
	var at location
	slash := strings.LastIndexByte(rest, '/')
	at.token = rest[slash+1:]
	if at.token == "" {
		return location{}, errors.New("token is empty: write token://TOKEN, with the token that skep create has printed")
	}
	if err := checkToken(at.token); err != nil {
		return location{}, err
	}
	if slash < 0 {
		return at, nil
	}
	host, path, _ := strings.Cut(rest[:slash], "/")
	if err := checkHost(host); err != nil {
		return location{}, err
	}
	if path = strings.Trim(path, "/"); path != "" {
		for part := range strings.SplitSeq(path, "/") {
			if !isPlain(part) || part == "." || part == ".." {
				return location{}, fmt.Errorf("token://: the path %q is none of a hub: use letters, digits and -_.~", path)
			}
		}
		at.path = "/" + path
	}
	at.host = host
	return at, nil
}

// checkToken does not repeat the text: a token with a typo is almost a token.
func checkToken(token string) error {
	if len(token) > maxToken || !isPlain(token) || token == "." || token == ".." {
		return fmt.Errorf("token://: the token may hold up to %d letters, digits and -_.~", maxToken)
	}
	return nil
}

// isPlain tells whether text may stand in a URL's path as it is.
func isPlain(text string) bool {
	for _, c := range []byte(text) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("-_.~", c) >= 0:
		default:
			return false
		}
	}
	return text != ""
}

func checkHost(host string) error {
	u, err := url.Parse("https://" + host)
	if err != nil || u.Host != host || u.Hostname() == "" || u.User != nil || strings.HasSuffix(host, ":") ||
		strings.ContainsAny(host, " %,\\\"'<>") {
		return fmt.Errorf("token://: %q is not the address of a hub: write host or host:port", host)
	}
	if port := u.Port(); port != "" {
		if _, err := discovery.ParseEntries("h:" + port); err != nil {
			return fmt.Errorf("token://: %q is not the address of a hub: the port must be a number from 1 to 65535", host)
		}
	}
	return nil
}

// errNoHub is for all who come from the time when there was a public hub.
var errNoHub = errors.New("no hub is given, and there is no public one any more: run skep hub, and give its address as token://host:port/TOKEN, " +
	"with --discovery-opt " + HubOption + "=https://host:port, or in the environment variable " + HubVariable)

// baseURL is where the API of the hub begins: what the token's URL says, or
// else the option, or else the environment.
func baseURL(at location, opts map[string]string, getenv func(string) string) (*url.URL, error) {
	if at.host != "" {
		u := &url.URL{Scheme: "https", Host: at.host, Path: at.path}
		if u.Path == "" {
			u.Path = apiPath
		}
		// A hub on this machine has no certificate, unless its CA is given.
		if isLoopback(u.Hostname()) && opts[CAOption] == "" {
			u.Scheme = "http"
		}
		return u, nil
	}
	from, text := HubOption, opts[HubOption]
	if text == "" {
		from, text = HubVariable, getenv(HubVariable)
	}
	if text == "" {
		return nil, errNoHub
	}
	return parseHub(from, text, opts[InsecureOption])
}

func parseHub(from, text, insecure string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || checkHost(u.Host) != nil {
		return nil, fmt.Errorf("%s: %q is not the address of a hub: write https://host:port", from, text)
	}
	if u.Path = strings.TrimRight(u.Path, "/"); u.Path == "" {
		u.Path = apiPath
	}
	u.RawPath = ""
	if u.Scheme == "http" && !isLoopback(u.Hostname()) && insecure != "true" {
		return nil, fmt.Errorf("%s: refusing %s: without TLS anyone on the way can read the token; use https://, or add --discovery-opt %s=true if you must", from, text, InsecureOption)
	}
	return u, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
