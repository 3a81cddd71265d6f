package election_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/skep/skep/internal/election"
)

func TestCheckAddress(t *testing.T) {
	for _, good := range []string{"192.0.2.1:3376", "manager-1.example.org:1", "[2001:db8::1]:65535", "[fe80::1%eth0]:3376", "under_score:80"} {
		if err := election.CheckAddress(good); err != nil {
			t.Errorf("%s is refused: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", ":3376", "host", "host:", "host:0", "host:080", "host:65536", "host:-1", "host:http", "a b:1", "user@host:1", "host/path:1",
		"host:1/path", "host?x:1", "[::1", "[nonsense:]:1", "[::1%a/b]:1", "http://host:1", "host:1\r\nX: y", strings.Repeat("a", 300) + ":1",
	} {
		if election.CheckAddress(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// What is taken must mean the same host to whoever builds a URL from it.
func FuzzCheckAddress(f *testing.F) {
	for _, seed := range []string{"192.0.2.1:3376", "[::1]:80", "host:1@other:2", "host:1/..", "%00:1", "[0]:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if election.CheckAddress(address) != nil {
			return
		}
		u := url.URL{Scheme: "http", Host: address, Path: "/"}
		back, err := url.Parse(u.String())
		if err != nil {
			t.Fatal(err)
		}
		if back.Host != address || back.User != nil || back.Path != "/" || back.RawQuery != "" {
			t.Fatalf("%q became host %q, path %q", address, back.Host, back.Path)
		}
	})
}
