package stores_test

import (
	"net"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/skep/skep/internal/kvstore/stores"
)

func FuzzSplit(f *testing.F) {
	for _, rest := range []string{
		"", "a", "a:1,b:2/x/y/", "[::1]:2379,[::1]", "a:1,,b:1", "a:0", "a:65536", "user@a:1", "a:1//x", "a:1/../x", "a b:1", "a:1/é", ":1", "[", "]:1", "a:1/%2e",
	} {
		f.Add(rest)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		hosts, prefix, err := stores.Split(rest, 2379)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n") {
				t.Errorf("%q: an error of several lines: %v", rest, err)
			}
			return
		}
		if len(hosts) == 0 || len(hosts) != strings.Count(strings.SplitN(rest, "/", 2)[0], ",")+1 {
			t.Errorf("%q: hosts %q", rest, hosts)
		}
		for _, h := range hosts {
			name, port, err := net.SplitHostPort(h)
			if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 1 || n > 65535 || name == "" || strings.ContainsAny(h, "/@?# \t\r\n,") {
				t.Errorf("%q: host %q", rest, h)
			}
		}
		if prefix != "" && path.Clean("/"+prefix) != "/"+prefix {
			t.Errorf("%q: prefix %q", rest, prefix)
		}
		again, same, err := stores.Split(strings.Join(hosts, ",")+"/"+prefix, 1)
		if err != nil || same != prefix || strings.Join(again, ",") != strings.Join(hosts, ",") {
			t.Errorf("%q became %q and %q, which is read as %q and %q, %v", rest, hosts, prefix, again, same, err)
		}
	})
}

func FuzzOptions(f *testing.F) {
	f.Add("", "", "", "")
	f.Add("ca", "cert", "key", "x")
	f.Add("/dev/null", "/dev/null", "/dev/null", "kv.path")
	f.Fuzz(func(t *testing.T, ca, cert, key, other string) {
		dir := t.TempDir() + "/" // so that no file of this machine is read
		in := func(name string) string {
			if name == "" {
				return ""
			}
			return dir + strings.ReplaceAll(name, "/", "_")
		}
		opts := map[string]string{other: other, stores.OptCA: in(ca), stores.OptCert: in(cert), stores.OptKey: in(key)}
		_, _, err := stores.Open("consul", "127.0.0.1:1", opts, nil)
		if none := ca+cert+key == ""; none != (err == nil) {
			t.Errorf("%q: %v", opts, err)
		}
	})
}
