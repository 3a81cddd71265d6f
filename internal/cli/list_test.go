package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skep/skep/internal/cli"
)

func TestList(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	if err := os.WriteFile(good, []byte("# ours\na:1\nb[1:2]:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, []byte("a:1\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	required := "skep: discovery required to list a cluster. See 'skep list --help'."
	for _, tc := range []struct {
		name, args string
		env        string
		code       int
		out, err   string // what standard error begins with
	}{
		{"a list of addresses", "list 10.0.0.[1:2]:2375,[::1]:2375", "", 0, "10.0.0.1:2375\n10.0.0.2:2375\n[::1]:2375\n", ""},
		{"the short name", "l nodes://a:1", "", 0, "a:1\n", ""},
		{"a file", "list file://" + good, "", 0, "a:1\nb1:1\nb2:1\n", ""},
		{"the environment", "list", "a:1", 0, "a:1\n", ""},
		{"flags behind the argument", "list a:1 --timeout 1s --discovery-opt k=v --discovery-opt=x=y", "", 0, "a:1\n", ""},
		{"no discovery", "list", "", 1, "", required},
		{"two arguments", "list a:1 b:1", "c:1", 1, "", required},
		{"a timeout that is none", "list --timeout soon a:1", "", 1, "", "skep: invalid --timeout: "},
		{"a timeout without a unit", "list --timeout 10 a:1", "", 1, "", "skep: invalid --timeout: "},
		{"a timeout of nothing", "list --timeout 0s a:1", "", 1, "", "skep: --timeout should be a positive number\n"},
		{"a negative timeout", "list --timeout=-1s a:1", "", 1, "", "skep: --timeout should be a positive number\n"},
		{"an option without a value", "list --discovery-opt k a:1", "", 1, "", "skep: --discovery-opt must contain key=value strings\n"},
		{"an unknown service", "list bogus://a:1", "", 1, "", "skep: discovery service not supported: "},
		{"an address without a port", "list a", "", 1, "", "skep: address a: missing port in address, please check you are using the correct discovery (missing token:// ?)\n"},
		{"a file that is missing", "list file:///does/not/exist", "", 1, "", "skep: failed to read '/does/not/exist': no such file or directory\n"},
		{"a file with a bad line", "list file://" + bad, "", 1, "", "skep: failed to read all of '" + bad + "': line 2: address b: missing port"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("SKEP_DISCOVERY", "")
			t.Setenv("SWARM_DISCOVERY", tc.env)
			var out, errs bytes.Buffer
			code := cli.Main(strings.Fields(tc.args), cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
			if code != tc.code || out.String() != tc.out || !strings.HasPrefix(errs.String(), tc.err) || (tc.err == "") != (errs.Len() == 0) {
				t.Errorf("status %d\nout: %s\nerr: %s", code, out.String(), errs.String())
			}
		})
	}
}
