package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// manageConfig checks a command line of `skep manage`, and gives the error.
func manageError(t *testing.T, env map[string]string, args ...string) error {
	t.Helper()
	var f manageFlags
	cmd := &cobra.Command{Use: "manage", SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs}
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	f.register(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		_, err := f.config(args, func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))
		return err
	}
	cmd.SetArgs(args)
	return cmd.Execute()
}

func TestManage_saysWhatIsWrongWithItsFlags(t *testing.T) {
	const nodes = "nodes://10.0.0.1:2375"
	for _, tc := range []struct {
		name string
		args []string
		want string // the error; "" for none
	}{
		{"all defaults are good", []string{nodes}, ""},
		{"discovery is required", nil, "discovery required to manage a cluster. See 'skep manage --help'."},
		{"certificates need a switch", []string{"--tlscert", "c", nodes}, "--tlscert, --tlskey and --tlscacert require the use of either --tls or --tlsverify"},
		{"TLS goes before all else", []string{"--tls", "--engine-refresh-min-interval", "x"}, "--tlscert and --tlskey must be provided when using --tls"},
		{"refresh interval is no duration", []string{"--engine-refresh-min-interval", "x", nodes}, "min refresh interval should be a positive number"},
		{"refresh interval is negative", []string{"--engine-refresh-min-interval", "-1s", nodes}, "min refresh interval should be a positive number"},
		{"max is below min", []string{"--engine-refresh-min-interval", "2m", nodes}, "max refresh interval cannot be less than min refresh interval"},
		{"the former name of a flag", []string{"--engine-refresh-retry", "4", nodes}, "--engine-refresh-retry is deprecated. Use --engine-failure-retry"},
		{"no retries", []string{"--engine-failure-retry", "0", nodes}, "invalid failure retry count"},
		{"heartbeat is too short", []string{"--heartbeat", "1ms", nodes}, "--heartbeat should be at least one second"},
		{"discovery option without a value", []string{"--discovery-opt", "x", nodes}, "--discovery-opt must contain key=value strings"},
		{"unknown driver", []string{"-c", "mesos", nodes}, `unsupported cluster "mesos"`},
		{"unknown strategy", []string{"--strategy", "best", nodes}, `strategy not supported: "best" (use spread, binpack or random)`},
		{"cluster option without a value", []string{"--cluster-opt", "swarm.overcommit", nodes}, "--cluster-opt must contain key=value strings"},
		{"overcommit of minus all", []string{"--cluster-opt", "swarm.overcommit=-2", nodes}, "swarm.overcommit should be larger than -1, -2.000000 is invalid"},
		{"overcommit is no number", []string{"--cluster-opt", "swarm.overcommit=x", nodes}, `swarm.overcommit should be a number, "x" is none`},
		{"createretry is negative", []string{"--cluster-opt", "swarm.createretry=-1", nodes}, "swarm.createretry can not be negative, -1 is invalid"},
		{"replication without an address", []string{"--replication", nodes}, "--advertise address must be provided when using --leader-election"},
		{"replication with half an address", []string{"--replication", "--advertise", "10.0.0.1", nodes}, "--advertise should be of the form ip:port or hostname:port"},
		{"replication for no time", []string{"--replication", "--addr", "10.0.0.1:2375", "--replication-ttl", "0s", nodes}, "--replication-ttl should be a positive number"},
		{"replication for how long", []string{"--replication", "--addr", "10.0.0.1:2375", "--replication-ttl", "x", nodes}, `invalid --replication-ttl: time: invalid duration "x"`},
		{"replication without a store", []string{"--replication", "--addr", "10.0.0.1:2375", nodes}, "Leader election is only supported with consul, etcd and zookeeper discovery."},
		{"no time to stop", []string{"--shutdown-timeout", "0s", nodes}, `--shutdown-timeout should be a positive duration such as 10s, "0s" is none`},
		{"state somewhere", []string{"--state-dir", "here", nodes}, `--state-dir should be an absolute path, "here" is none`},
		{"a filter twice changes nothing", []string{"-f", "health", "-f", "health", nodes}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if err := manageError(t, nil, tc.args...); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

// Everything is wrong at once; what is told first is repaired, and the next one
// is told.
func TestManage_checksItsFlagsInTheOrderThatPeopleKnow(t *testing.T) {
	flags := []struct{ flag, bad, good, want string }{
		{"--tlscert", "c", "", "--tlscert, --tlskey and --tlscacert require"},
		{"--engine-refresh-min-interval", "0s", "30s", "min refresh interval should be a positive number"},
		{"--engine-refresh-max-interval", "soon", "60s", "max refresh interval cannot be less than min refresh interval"},
		{"--engine-refresh-retry", "5", "3", "--engine-refresh-retry is deprecated"},
		{"--engine-failure-retry", "-1", "3", "invalid failure retry count"},
		{"DISCOVERY", "", "bogus://x", "discovery required to manage a cluster"},
		{"--heartbeat", "often", "0.5s", "invalid --heartbeat: "},
		{"--heartbeat", "0.5s", "60s", "--heartbeat should be at least one second"},
		{"--discovery-opt", "x", "x=y", "--discovery-opt must contain key=value strings"},
		{"DISCOVERY", "bogus://x", "a:1", "discovery service not supported"},
		{"--strategy", "best", "spread", "strategy not supported"},
		{"--filter", "best", "health", "filter not supported"},
		{"--cluster-driver", "mesos", "swarm", "unsupported cluster"},
		{"--cluster-opt", "swarm.overcommit", "swarm.overcommit=x", "--cluster-opt must contain key=value strings"},
		{"--cluster-opt", "swarm.overcommit=x", "swarm.overcommit=-1", "swarm.overcommit should be a number"},
		{"--cluster-opt", "swarm.overcommit=-1", "swarm.overcommit=-0.5", "swarm.overcommit should be larger than -1, -1.000000 is invalid"},
	}
	now := map[string]string{}
	for i := len(flags) - 1; i >= 0; i-- {
		now[flags[i].flag] = flags[i].bad
	}
	for i := 0; ; i++ {
		var args []string
		for flag, value := range now {
			switch {
			case flag == "DISCOVERY" && value != "":
				args = append(args, value)
			case flag != "DISCOVERY" && value != "":
				args = append(args, flag+"="+value)
			}
		}
		err := manageError(t, nil, args...)
		if i == len(flags) {
			if err != nil {
				t.Errorf("all is repaired, and yet: %v", err)
			}
			return
		}
		if err == nil || !strings.HasPrefix(err.Error(), flags[i].want) {
			t.Fatalf("got %v, want %q", err, flags[i].want)
		}
		now[flags[i].flag] = flags[i].good
	}
}

func TestManage_namesTheFiltersItKnows(t *testing.T) {
	err := manageError(t, nil, "-f", "best", "nodes://10.0.0.1:2375")
	if err == nil || !strings.HasPrefix(err.Error(), "filter not supported") || !strings.Contains(err.Error(), "constraint") {
		t.Errorf("got %v", err)
	}
}

func TestManage_takesDiscoveryFromTheEnvironment(t *testing.T) {
	for _, name := range []string{"SKEP_DISCOVERY", "SWARM_DISCOVERY"} {
		if err := manageError(t, map[string]string{name: "nodes://10.0.0.1:2375"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What no list can say is said in the log.
func TestManage_hearsItsDiscovery(t *testing.T) {
	var f manageFlags
	f.register(&cobra.Command{})
	var log bytes.Buffer
	cfg, err := f.config([]string{"file:///no/such/directory/engines"}, noEnv, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	updates := cfg.Discovery.Watch(ctx)
	<-updates // the directory was to be watched before it
	cancel()
	for range updates {
		// Until it is closed.
	}
	if !strings.Contains(log.String(), "changes are noticed at each heartbeat only") {
		t.Errorf("it said %q", log.String())
	}
}

func TestHostsOf_readsTheEnvironmentOrTakesLoopback(t *testing.T) {
	env := map[string]string{"SWARM_HOST": "tcp://127.0.0.1:1, unix:///x"}
	if got := hostsOf(func(n string) string { return env[n] }); len(got) != 2 || got[1] != "unix:///x" {
		t.Errorf("got %v", got)
	}
	if got := hostsOf(func(string) string { return "" }); len(got) != 1 || got[0] != "tcp://127.0.0.1:2375" {
		t.Errorf("got %v", got)
	}
}

func TestMain_endsWithTheStatusThatScriptsExpect(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		code int
		err  string // part of standard error
	}{
		{"version", []string{"version"}, 0, ""},
		{"--version", []string{"--version"}, 0, ""},
		{"no command", nil, 0, ""},
		{"help", []string{"manage", "--help"}, 0, ""},
		{"an unknown command", []string{"bogus"}, 0, ""},
		{"a bad flag", []string{"manage", "--bogus"}, 1, "unknown flag: --bogus"},
		{"a bad log level", []string{"--log-level", "zzz", "manage", "-H", "unix:///x", "nodes://10.0.0.1:2375"}, 1, `not a valid logrus Level: "zzz"`},
		{"a plugin that is not there", []string{"manage", "-H", "tcp://127.0.0.1:0", "--authorization-plugin", "no-such-plugin", "nodes://127.0.0.1:1"}, 1, "authorization plugin no-such-plugin: not found"},
		{"metrics for all", []string{"manage", "-H", "tcp://127.0.0.1:0", "--metrics-addr", "0.0.0.0:0", "nodes://127.0.0.1:1"}, 1, "--metrics-addr 0.0.0.0:0: profiles tell what runs"},
		{"a certificate that is not there", []string{"manage", "-H", "tcp://127.0.0.1:0", "--tls", "--tlscert", "/nowhere/c", "--tlskey", "/nowhere/k", "nodes://127.0.0.1:1"}, 1, "read --tlscert: open /nowhere/c"},
		{"plaintext to all the world", []string{"manage", "-H", "tcp://0.0.0.0:2375", "nodes://127.0.0.1:1"}, 1, "refusing to listen on 0.0.0.0:2375 without TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			stderr, err := os.Create(filepath.Join(t.TempDir(), "err"))
			if err != nil {
				t.Fatal(err)
			}
			defer stderr.Close()
			if code := Main(tc.args, Streams{In: strings.NewReader(""), Out: io.Discard, Err: stderr}); code != tc.code {
				t.Errorf("status %d, want %d", code, tc.code)
			}
			said, err := os.ReadFile(stderr.Name())
			if err != nil || !strings.Contains(string(said), tc.err) {
				t.Errorf("said %q, want %q (%v)", said, tc.err, err)
			}
		})
	}
}

func TestExitError_isAStatusAndNoMessage(t *testing.T) {
	var exit ExitError
	if !errors.As(error(ExitError{3}), &exit) || exit.Code != 3 {
		t.Error("lost the status")
	}
}
