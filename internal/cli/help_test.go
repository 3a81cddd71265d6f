package cli_test

import (
	"strings"
	"testing"
)

// Every command says what it can do, and takes a bad flag for what it is.
func TestHelp_ofEachCommand(t *testing.T) {
	for command, flags := range map[string][]string{
		"manage": {"--strategy", "--filter", "--host", "--replication", "--tlsverify", "--cluster-opt", "--discovery-opt", "--experimental"},
		"join":   {"--advertise", "--heartbeat", "--ttl", "--delay", "--discovery-opt", "--debug"},
		"list":   {"--timeout", "--discovery-opt", "--log-level"},
		"create": {"--hub"},
		"hub":    {"--listen"},
	} {
		for _, line := range []string{command + " --help", command + " -help", command + " -h", "help " + command, command[:1] + " --help"} {
			if command == "hub" && strings.HasPrefix(line, "h ") {
				continue // that is short for help
			}
			t.Run(line, func(t *testing.T) {
				code, out, errs := skep(line)
				if code != 0 || errs != "" || !strings.Contains(out, "Usage:\n  skep "+command) {
					t.Errorf("status %d\nout: %s\nerr: %s", code, out, errs)
				}
				for _, flag := range flags {
					if !strings.Contains(out, flag+" ") && !strings.Contains(out, flag+"\n") {
						t.Errorf("it does not speak of %s", flag)
					}
				}
			})
		}
	}
}

func TestBadFlags_ofEachCommandAreAnError(t *testing.T) {
	for _, command := range []string{"manage", "join", "list", "create", "hub"} {
		for _, tc := range []struct{ flag, want string }{
			{"--bogus", "skep: unknown flag: --bogus\n"},
			{"-bogus=1", "skep: unknown flag: --bogus\n"},
			{"--discovery-opt", "flag needs an argument"},
			{"--debug=perhaps", "skep: invalid argument \"perhaps\" for \"--debug\" flag"},
		} {
			if command == "hub" && tc.flag == "--discovery-opt" {
				continue // it has none
			}
			t.Run(command+" "+tc.flag, func(t *testing.T) {
				code, out, errs := skep(command + " " + tc.flag)
				if code != 1 || out != "" || !strings.Contains(errs, tc.want) {
					t.Errorf("status %d\nout: %s\nerr: %s", code, out, errs)
				}
			})
		}
	}
}
