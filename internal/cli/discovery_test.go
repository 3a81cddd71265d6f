package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiscoveryArg(t *testing.T) {
	both := map[string]string{"SKEP_DISCOVERY": "file:///skep", "SWARM_DISCOVERY": "file:///swarm"}
	swarm := map[string]string{"SWARM_DISCOVERY": "file:///swarm"}
	for _, tc := range []struct {
		name string
		args []string
		env  map[string]string
		want string
		err  string
	}{
		{"the argument", []string{"a:1"}, both, "a:1", ""},
		{"skep's variable before swarm's", nil, both, "file:///skep", ""},
		{"swarm's variable", nil, swarm, "file:///swarm", ""},
		{"neither", nil, nil, "", "discovery required to list a cluster. See 'skep list --help'."},
		{"an empty argument", []string{""}, both, "", "discovery required to list a cluster. See 'skep list --help'."},
		{"two arguments", []string{"a:1", "b:1"}, both, "",
			"discovery required to list a cluster. See 'skep list --help'. It takes one argument, not 2."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := discoveryArg("list", tc.args, func(name string) string { return tc.env[name] })
			if got != tc.want || message(err) != tc.err {
				t.Errorf("got %q, %v; want %q, %q", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestParseOpts(t *testing.T) {
	got, err := parseOpts("--discovery-opt", []string{"a=1", "b=", "c=x=y", "a=2"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "2", "b": "", "c": "x=y"}, got); diff != "" {
		t.Error(diff)
	}
	for _, kv := range []string{"a", "", "=1"} {
		if _, err := parseOpts("--discovery-opt", []string{"x=y", kv}); message(err) != "--discovery-opt must contain key=value strings" {
			t.Errorf("%q: error %v", kv, err)
		}
	}
}

// message is the text of err, "" for none.
func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
