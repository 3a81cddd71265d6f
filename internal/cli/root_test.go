package cli_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/skep/skep/internal/cli"
	"github.com/skep/skep/internal/version"
)

// skep runs a command line.
func skep(line string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = cli.Main(strings.Fields(line), cli.Streams{In: strings.NewReader(""), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestSkep_answersAsScriptsExpect(t *testing.T) {
	versionLine := "skep version " + version.Version + " (" + version.Commit() + ")\n"
	for _, tc := range []struct {
		name, line string
		code       int
		out, err   string // what they begin with
	}{
		{"no command", "", 0, "Many Docker Engines as one", ""},
		{"-h", "-h", 0, "Many Docker Engines as one", ""},
		{"-help", "-help", 0, "Many Docker Engines as one", ""},
		{"help", "help", 0, "Many Docker Engines as one", ""},
		{"help of a command", "help join", 0, "Announce the address of an engine", ""},
		{"help of a short name", "h j", 0, "Announce the address of an engine", ""},
		{"help of no command", "help bogus", 0, "No help topic for 'bogus'\n", ""},
		{"help of a command's command", "help lab up", 0, "Make the lab", ""},
		{"help of no command's command", "help lab bogus", 0, "No help topic for 'lab'\n", ""},
		{"an unknown command", "bogus", 0, "No help topic for 'bogus'\n", ""},
		{"an unknown command with flags", "-debug bogus -x --y z", 0, "No help topic for 'bogus'\n", ""},
		{"-v", "-v", 0, versionLine, ""},
		{"-version", "-version", 0, versionLine, ""},
		{"--version", "--version", 0, versionLine, ""},
		{"--v", "--v", 0, versionLine, ""},
		{"one dash", "list -timeout 1s -discovery-opt a=b a:1", 0, "a:1\n", ""},
		{"one dash and what is wrong", "list -timeout=0s a:1", 1, "", "skep: --timeout should be a positive number\n"},
		{"experimental", "-experimental l a:1", 0, "a:1\n", ""},
		{"an unknown flag", "list -bogus a:1", 1, "", "skep: unknown flag: --bogus\n"},
		{"an unknown global flag", "-bogus list a:1", 1, "", "skep: unknown flag: --bogus\n"},
		{"a bad level", "-l zzz list a:1", 1, "", "skep: not a valid logrus Level: \"zzz\"\n"},
		{"a bad level beats debug", "-debug -log-level=zzz list a:1", 1, "", "skep: not a valid logrus Level: \"zzz\"\n"},
		{"level fatal", "-l fatal list a:1", 0, "a:1\n", ""},
		{"level PANIC", "-log-level PANIC list a:1", 0, "a:1\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, errs := skep(tc.line)
			if code != tc.code || !strings.HasPrefix(out, tc.out) || !strings.HasPrefix(errs, tc.err) || (tc.err == "") != (errs == "") || (tc.out == "") != (out == "") {
				t.Errorf("status %d\nout: %s\nerr: %s", code, out, errs)
			}
		})
	}
}

func TestCreateAndJoin_sayWhatIsWrong(t *testing.T) {
	const dead = "token://127.0.0.1:1/abc"
	for _, tc := range []struct{ name, line, want string }{
		{"create takes no arguments", "create x", "the `create` command takes no arguments. See 'skep create --help'."},
		{"create needs a hub", "c", "no hub is given, and there is no public one any more: run skep hub"},
		{"create reaches no hub", "create -hub http://127.0.0.1:1", "hub http://127.0.0.1:1/v1: dial tcp"},
		{"create with a bad option", "create -discovery-opt x", "--discovery-opt must contain key=value strings"},
		{"no discovery", "join", "discovery required to join a cluster. See 'skep join --help'."},
		{"no address", "join " + dead, "missing mandatory --advertise flag"},
		{"an address without a port", "join -advertise a " + dead, "--advertise should be of the form ip:port or hostname:port"},
		{"an address with port 0", "join -addr a:0 " + dead, "--advertise should be of the form ip:port or hostname:port"},
		{"IPv6 without brackets", "join -addr ::1:1 " + dead, "--advertise should be of the form ip:port or hostname:port"},
		{"a bad delay", "join -addr a:1 -delay x " + dead, "invalid --delay: "},
		{"a negative delay", "join -addr a:1 -delay=-1s " + dead, "--delay should not be a negative number"},
		{"a bad heartbeat", "join -addr a:1 -heartbeat x " + dead, "invalid --heartbeat: "},
		{"a short heartbeat", "join -addr a:1 -heartbeat 999ms " + dead, "--heartbeat should be at least one second"},
		{"a bad ttl", "join -addr a:1 -ttl x " + dead, "invalid --ttl: "},
		{"a short ttl", "join -addr a:1 -ttl 60s " + dead, "--ttl must be strictly superior to the heartbeat value"},
		{"a bad option", "join -addr a:1 -discovery-opt x " + dead, "--discovery-opt must contain key=value strings"},
		{"an unknown service", "join -addr a:1 bogus://x", "discovery service not supported"},
		{"a token without a hub", "join -addr a:1 token://abc", "no hub is given"},
		{"an empty token", "list token://", "token is empty"},
		{"a hub with an argument", "hub x", `unknown command "x" for "skep hub"`},
		{"a hub with no rate", "hub -rate 0", "--rate, --max-clusters"},
		{"a hub for all without TLS", "hub -listen 0.0.0.0:0", "refusing to listen on 0.0.0.0:0 without TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, name := range []string{"SKEP_HUB", "SKEP_DISCOVERY", "SWARM_DISCOVERY", "SKEP_ADVERTISE", "SWARM_ADVERTISE"} {
				t.Setenv(name, "")
			}
			code, out, errs := skep(tc.line)
			if code != 1 || out != "" || !strings.HasPrefix(errs, "skep: "+tc.want) {
				t.Errorf("status %d\nout: %s\nerr: %s", code, out, errs)
			}
		})
	}
}
