package discovery_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/discovery"
)

func TestParseEntries(t *testing.T) {
	for _, tc := range []struct {
		name, list string
		want       discovery.Entries
	}{
		{"nothing", "", nil},
		{"one address", "10.0.0.1:2375", discovery.Entries{"10.0.0.1:2375"}},
		{"several, with blanks between", " a:1 ,, b:2, ", discovery.Entries{"a:1", "b:2"}},
		{"duplicates keep their first place", "b:1,a:1,b:1", discovery.Entries{"b:1", "a:1"}},
		{"a range in the host", "10.0.0.[1:3]:2375", discovery.Entries{"10.0.0.1:2375", "10.0.0.2:2375", "10.0.0.3:2375"}},
		{"a range of one", "h[7:7]:1", discovery.Entries{"h7:1"}},
		{"a range in the port", "h:[2:4]375", discovery.Entries{"h:2375", "h:3375", "h:4375"}},
		{"several ranges, the last fastest", "10.0.[1:2].[1:2]:1",
			discovery.Entries{"10.0.1.1:1", "10.0.1.2:1", "10.0.2.1:1", "10.0.2.2:1"}},
		{"ranges that overlap", "h[1:2]:1,h[2:3]:1", discovery.Entries{"h1:1", "h2:1", "h3:1"}},
		{"no zero padding", "h[08:10]:1", discovery.Entries{"h8:1", "h9:1", "h10:1"}},
		{"IPv6 is no range", "[::1]:2375,[fe80::1]:2375,[fe80::1%eth0]:2375",
			discovery.Entries{"[::1]:2375", "[fe80::1]:2375", "[fe80::1%eth0]:2375"}},
		{"a range inside IPv6", "[fd00::[1:2]]:[1:2]",
			discovery.Entries{"[fd00::1]:1", "[fd00::1]:2", "[fd00::2]:1", "[fd00::2]:2"}},
		{"sockets", "unix:///run/docker.sock,unix:///run/e[1:2].sock",
			discovery.Entries{"unix:///run/docker.sock", "unix:///run/e1.sock", "unix:///run/e2.sock"}},
		{"tcp:// is only another spelling", "tcp://a:1,a:1", discovery.Entries{"a:1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := discovery.ParseEntries(tc.list)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseEntries_refuses(t *testing.T) {
	for _, tc := range []struct{ name, list, want string }{
		{"an address without a port", "10.0.0.1", "address 10.0.0.1: missing port in address, please check you are using the correct discovery (missing token:// ?)"},
		{"the bad one of several", "a:1,b", "address b: missing port in address"},
		{"an address without a host", ":2375", "address :2375: missing host in address"},
		{"a port that is no number", "h:http", "address h:http: the port must be a number from 1 to 65535"},
		{"an empty port", "h:", "the port must be a number from 1 to 65535"},
		{"port 0", "h:0", "the port must be a number from 1 to 65535"},
		{"a port with a sign", "h:+1", "the port must be a number from 1 to 65535"},
		{"a range that leaves the ports", "h:[65534:65536]", "address h:65536: the port must be a number from 1 to 65535"},
		{"a range that ends before it begins", "h[3:1]:1", "address h[3:1]:1: the range [3:1] ends before it begins"},
		{"a range of letters", "h[a:c]:1", "address h[a:c]:1: [a:c] is no range of numbers, which looks like [1:20]"},
		{"a range with a dash", "h[1-3]:1", "address h[1-3]:1: [1-3] is no range of numbers"},
		{"a range that is not closed", "h[1:3:1", "address h[1:3:1: [1:3:1 is no range of numbers"},
		{"a range with an end beyond 64 bits", "h[1:99999999999999999999]:1", "a number in the range [1:99999999999999999999] is too large"},
		{"a range of all numbers", "h[0:18446744073709551615]:1", "more than 10000 engines in one list"},
		{"ranges that multiply", "10.[0:255].[0:255].1:1", "more than 10000 engines in one list"},
		{"ranges that overflow when multiplied", strings.Repeat("[0:9999]", 60) + ":1", "more than 10000 engines in one list"},
		{"items that add up", "h[1:9999]:1,a:1,b:1", "address b:1: more than 10000 engines in one list"},
		{"an IPv6 address without brackets", "fe80::1:2375", "address fe80::1:2375: too many colons in address"},
		{"brackets around no IPv6 address", "[::g]:1", `"::g" is not an IPv6 address`},
		{"white space inside", "a b:1", `address "a b:1": white space or unprintable characters in address`},
		{"a byte order mark", "\ufeffh:1", "white space or unprintable characters in address"},
		{"a path behind the host", "h/x:1", `"h/x" is not the name or IP address of a host`},
		{"another scheme", "https://h:1", "address https://h:1: write host:port or unix:///path"},
		{"a relative socket", "unix://run/docker.sock", "the path of a socket must be absolute, as in unix:///run/docker.sock"},
		{"an endless item", strings.Repeat("x", 5000), "longer than 1024 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := discovery.ParseEntries(tc.list)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if got != nil {
				t.Errorf("an error comes with %v", got)
			}
		})
	}
}

func TestParseEntries_acceptsTheLimit(t *testing.T) {
	got, err := discovery.ParseEntries(fmt.Sprintf("h[1:%d]:2375", discovery.MaxEntries))
	if err != nil || len(got) != discovery.MaxEntries {
		t.Errorf("%d entries, %v", len(got), err)
	}
}

func TestBuilder_addsAllOfAnItemOrNothing(t *testing.T) {
	var b discovery.Builder
	if err := b.Add("h:[65534:65536]"); err == nil {
		t.Error("no error")
	}
	if err := b.Add("a:1"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(discovery.Entries{"a:1"}, b.Entries()); diff != "" {
		t.Error(diff)
	}
}

func TestDiff(t *testing.T) {
	for _, tc := range []struct {
		name                     string
		new, old, added, removed discovery.Entries
	}{
		{"nothing at all", nil, nil, nil, nil},
		{"the first list", discovery.Entries{"b:1", "a:1"}, nil, discovery.Entries{"b:1", "a:1"}, nil},
		{"an emptied list", nil, discovery.Entries{"b:1", "a:1"}, nil, discovery.Entries{"b:1", "a:1"}},
		{"another order", discovery.Entries{"b:1", "a:1"}, discovery.Entries{"a:1", "b:1"}, nil, nil},
		{"some of each", discovery.Entries{"d:1", "b:1", "c:1"}, discovery.Entries{"z:1", "b:1", "a:1"},
			discovery.Entries{"d:1", "c:1"}, discovery.Entries{"z:1", "a:1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			added, removed := tc.new.Diff(tc.old)
			if diff := cmp.Diff(tc.added, added); diff != "" {
				t.Error("added:", diff)
			}
			if diff := cmp.Diff(tc.removed, removed); diff != "" {
				t.Error("removed:", diff)
			}
		})
	}
}

func TestParseAddress_takesOneHostAndPort(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1:2375":            "",
		"engine-1.example.com:1":   "",
		"[::1]:2375":               "",
		"[fe80::1%eth0]:2375":      "",
		"":                         `"" is not host:port`,
		"a":                        "missing port",
		"a:0":                      "the port must be a number",
		" a:1":                     "is not host:port",
		"a:1,b:1":                  "is not host:port",
		"tcp://a:1":                "is not host:port",
		"unix:///run/docker.sock":  "is not host:port",
		"h[1:1]:1":                 "is not host:port",
		"10.0.0.[1:20]:2375":       "is not host:port",
		"h[0:9999999999]:1":        "is not host:port",
		strings.Repeat("[", 1<<20): "is not host:port",
	} {
		switch got, err := discovery.ParseAddress(text); {
		case want == "" && (err != nil || string(got) != text):
			t.Errorf("%q: got %q, %v", text, got, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300):
			t.Errorf("%.100q: error %.300v, want %q", text, err, want)
		}
	}
}

func FuzzParseEntries(f *testing.F) {
	for _, seed := range []string{
		"10.0.0.[1:20]:2375", "h:[2:4]375,[::1]:2375", "[fe80::[1:2]]:[1:2]", "unix:///run/e[1:3].sock", "tcp://a:1",
		"h[3:1]:1", "h[a:b]:1", "[[1:2]:[3:4]]", "h[0:18446744073709551615]:1", "a b:1", "[1:2", "]:1,[",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		entries, err := discovery.ParseEntries(list)
		if err != nil {
			if entries != nil {
				t.Fatalf("an error comes with %d entries", len(entries))
			}
			return
		}
		if len(entries) > discovery.MaxEntries {
			t.Fatalf("%d entries", len(entries))
		}
		seen := make(map[discovery.Entry]bool)
		for _, e := range entries {
			if seen[e] {
				t.Fatalf("%s is listed twice", e)
			}
			seen[e] = true
		}
		// What came out is plain: it reads as itself, unless a socket's path
		// happens to hold what looks like a range or a comma.
		for _, e := range entries {
			if strings.ContainsAny(string(e), "[,") && strings.HasPrefix(string(e), "unix://") {
				continue
			}
			again, err := discovery.ParseEntries(string(e))
			if err != nil || len(again) != 1 || again[0] != e {
				t.Fatalf("%q reads as %q, %v", e, again, err)
			}
		}
	})
}

func BenchmarkParseEntries(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := discovery.ParseEntries("10.0.[0:3].[1:250]:2375"); err != nil {
			b.Fatal(err)
		}
	}
}
