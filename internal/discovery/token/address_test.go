package token_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/skep/skep/internal/discovery/token"
)

func none(string) string { return "" }

func TestLocation_findsTheHub(t *testing.T) {
	env := func(name string) string { return map[string]string{"SKEP_HUB": "https://env.example:1"}[name] }
	option := map[string]string{"token.hub": "https://option.example:1/api/v1/"}
	for _, tc := range []struct {
		name, rest string
		opts       map[string]string
		getenv     func(string) string
		want       string
	}{
		{"a host", "hub.example/abc", nil, none, "https://hub.example/v1"},
		{"a host and a port", "hub.example:2378/abc", nil, none, "https://hub.example:2378/v1"},
		{"a path", "hub.example:2378/my/v1/abc", nil, none, "https://hub.example:2378/my/v1"},
		{"IPv6", "[2001:db8::1]:2378/abc", nil, none, "https://[2001:db8::1]:2378/v1"},
		{"this machine", "127.0.0.1:2378/abc", nil, none, "http://127.0.0.1:2378/v1"},
		{"this machine with a CA", "localhost:2378/abc", map[string]string{"token.cacertfile": "ca"}, none, "https://localhost:2378/v1"},
		{"the option", "abc", option, env, "https://option.example:1/api/v1"},
		{"the environment", "abc", nil, env, "https://env.example:1/v1"},
		{"the URL before the option", "hub.example/abc", option, env, "https://hub.example/v1"},
		{"plaintext to this machine", "abc", map[string]string{"token.hub": "http://[::1]:2378"}, none, "http://[::1]:2378/v1"},
		{"plaintext as demanded", "abc", map[string]string{"token.hub": "http://hub:1", "token.insecure": "true"}, none, "http://hub:1/v1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base, tok, err := token.ParseLocation(tc.rest, tc.opts, tc.getenv)
			if err != nil || base != tc.want || tok != "abc" {
				t.Errorf("%s, token %s, %v; want %s", base, tok, err, tc.want)
			}
		})
	}
}

func TestLocation_refuses(t *testing.T) {
	for _, tc := range []struct {
		name, rest, hub, want string
	}{
		{"nothing", "", "", "token is empty"},
		{"a hub without a token", "hub:1/", "", "token is empty"},
		{"a token with a space", "a b", "https://h", "the token may hold"},
		{"a token of two dots", "hub:1/..", "", "the token may hold"},
		{"an endless token", strings.Repeat("a", 129), "https://h", "the token may hold up to 128"},
		{"an empty host", "/abc", "", `"" is not the address of a hub`},
		{"a user", "me:pw@hub/abc", "", "is not the address of a hub"},
		{"a port that is none", "hub:x/abc", "", "is not the address of a hub"},
		{"a port that is too large", "hub:65536/abc", "", "the port must be a number"},
		{"an empty port", "hub:/abc", "", "is not the address of a hub"},
		{"a path that climbs", "hub/../abc", "", "is none of a hub"},
		{"no hub at all", "abc", "", "no hub is given, and there is no public one any more: run skep hub"},
		{"a hub without a scheme", "abc", "hub:2378", "write https://host:port"},
		{"a hub of another scheme", "abc", "ftp://hub", "write https://host:port"},
		{"a hub with a query", "abc", "https://hub?x", "write https://host:port"},
		{"plaintext over the network", "abc", "http://hub:1", "refusing http://hub:1: without TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := token.ParseLocation(tc.rest, map[string]string{"token.hub": tc.hub}, none)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzLocation(f *testing.F) {
	for _, seed := range []string{"abc", "hub/abc", "hub:1/a/b/abc", "[::1]:1/abc", "me@hub/abc", "hub%41/abc", "hub?x/abc", "//abc", "../abc", "127.0.0.1/a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		base, tok, err := token.ParseLocation(rest, map[string]string{"token.hub": "https://option.example"}, none)
		if err != nil {
			return
		}
		u, err := url.Parse(base)
		if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Hostname() == "" || strings.Contains(u.Path, "..") {
			t.Fatalf("%q gives the address %q, %v", rest, base, err)
		}
		if u.Scheme != "https" && u.Hostname() != "localhost" && !strings.HasPrefix(u.Hostname(), "127.") && !strings.Contains(u.Hostname(), ":") {
			t.Fatalf("%q is asked without TLS: %q", rest, base)
		}
		if !strings.HasSuffix(rest, tok) || tok == "" || strings.ContainsAny(tok, "/?#%") {
			t.Fatalf("%q gives the token %q", rest, tok)
		}
	})
}
