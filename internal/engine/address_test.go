package engine_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/skep/skep/internal/engine"
)

func TestParseAddress(t *testing.T) {
	for _, tc := range []struct {
		name, given, network, target, err string
	}{
		{"host and port", "10.0.0.1:2375", "tcp", "10.0.0.1:2375", ""},
		{"a name", "node-1.example:2375", "tcp", "node-1.example:2375", ""},
		{"with its scheme", "tcp://10.0.0.1:2375", "tcp", "10.0.0.1:2375", ""},
		{"IPv6", "[fd00::1]:2375", "tcp", "[fd00::1]:2375", ""},
		{"a port with zeros", "a:02375", "tcp", "a:2375", ""},
		{"a socket", "unix:///run/docker.sock", "unix", "/run/docker.sock", ""},
		{"nothing", "", "", "", "write it as host:port"},
		{"no port", "10.0.0.1", "", "", "missing port"},
		{"no host", ":2375", "", "", "with a port from 1 to 65535"},
		{"no host in brackets", "[]:2375", "", "", "with a port from 1 to 65535"},
		{"port 0", "a:0", "", "", "with a port from 1 to 65535"},
		{"port too large", "a:65536", "", "", "with a port from 1 to 65535"},
		{"port with a sign", "a:+80", "", "", "with a port from 1 to 65535"},
		{"port that is a word", "a:http", "", "", "with a port from 1 to 65535"},
		{"IPv6 without brackets", "fd00::1:2375", "", "", "too many colons"},
		{"another scheme", "https://a:2375", "", "", "only tcp:// and unix:// are known"},
		{"two schemes", "tcp://unix:///x", "", "", "only tcp:// and unix:// are known"},
		{"a relative socket", "unix://docker.sock", "", "", "must be absolute"},
		{"an abstract socket", "unix://@docker", "", "", "must be absolute"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := engine.ParseAddress(tc.given)
			if got != (engine.Address{Network: tc.network, Target: tc.target}) {
				t.Errorf("got %+v", got)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a:1", "tcp://[::1]:65535", "unix:///x", "tcp://", "unix://", "[]:1", "a:+1", "[fe80::1%eth0]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := engine.ParseAddress(s)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "engine address ") {
				t.Fatal(err)
			}
			return
		}
		// What it is written as is what it is known by.
		again, err := engine.ParseAddress(a.String())
		if err != nil || again != a || again.String() != a.String() {
			t.Fatalf("%q: %+v, again %+v, %v", s, a, again, err)
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	for _, s := range []string{
		`{"status":"start","id":"c1","from":"busybox","Type":"container","Action":"start","Actor":{"ID":"c1","Attributes":{"name":"web"}},"scope":"local","time":1700000000,"timeNano":1700000000000000001}`,
		`{"Type":"container","time":1}`, `{"time":9223372036854775807}`, `{}`, `null`, `[]`, `{"Actor":null}`, `{"Actor":{"Attributes":null}}`, `{"type":"x"}`, "{",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		given := string(line)
		ev, err := engine.ParseEvent(line)
		if err != nil {
			if json.Valid(line) && strings.Contains(err.Error(), "invalid character") {
				t.Fatal(err)
			}
			return
		}
		clear(line) // the reader's buffer
		if string(ev.Raw) != given {
			t.Fatalf("raw %q of %q", ev.Raw, given)
		}
		if ev.Time != 0 && ev.TimeNano == 0 && ev.Time*1_000_000_000 != 0 {
			t.Fatalf("time %d without nanoseconds", ev.Time)
		}
	})
}
