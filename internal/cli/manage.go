package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skep/skep/internal/daemon"
	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/backends"
	"github.com/skep/skep/internal/placement"
)

// manageFlags are the flags of `skep manage` as they are given: durations and
// numbers stay text until they are checked, in the order in which people
// expect to be told.
type manageFlags struct {
	strategy                string
	filters                 []string
	hosts                   []string
	tls                     daemon.TLSFiles
	insecure, cors          bool
	refreshMin, refreshMax  string
	failureRetry            int
	refreshRetry            int
	heartbeat               string
	driver                  string
	clusterOpts, discovOpts []string

	configFile        string
	stateDir          string
	plugins           []string
	metricsAddr       string
	shutdownTimeout   string
	replication       bool
	replicationTTL    string
	advertise         string
	refreshNodeFilter bool
	refreshNameFilter string
}

// defaultStateDir need not be usable: a manager that is tried out by a user
// works without. One that was chosen has to be.
const defaultStateDir = "/var/lib/skep"

func newManageCommand() *cobra.Command {
	var f manageFlags
	cmd := &cobra.Command{
		Use:     "manage [flags] DISCOVERY",
		Aliases: []string{"m"},
		Short:   "Serve many engines as one",
		Long: `Serve many Docker Engines as one, to anything that speaks the Docker API.

DISCOVERY says where the engines are: nodes://10.0.0.[1:3]:2375 lists them,
file:///etc/skep/engines names a file with one address a line, and etcd://,
consul://, zk:// and token:// are where skep join announces engines. Without it,
$SKEP_DISCOVERY is used.`,
		Example: `  skep manage -H unix:///run/skep.sock nodes://10.0.0.[1:3]:2375
  docker -H unix:///run/skep.sock run -d -e constraint:rack==a web`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			args, err := f.readConfigFile(cmd, args)
			if err != nil {
				return err
			}
			logger, err := newLogger(cmd)
			if err != nil {
				return err
			}
			cfg, err := f.config(args, os.Getenv, logger)
			if err != nil {
				return err
			}
			if cfg.Experimental, err = cmd.Flags().GetBool(experimentalFlag); err != nil {
				return err
			}
			hangup := make(chan os.Signal, 1) // a second one asks for the same
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			cfg.Reload, cfg.Inherited, cfg.Notify = hangup, daemon.InheritedSockets(), daemon.NotifySystemd
			return daemon.Manage(cmd.Context(), cfg)
		},
	}
	f.register(cmd)
	return cmd
}

func (f *manageFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.strategy, "strategy", "spread", "`STRATEGY` to choose among engines that fit: spread, binpack or random")
	flags.StringArrayVarP(&f.filters, "filter", "f", nil, "`FILTER` to use, in this order; repeat it for more (default: health, port, containerslots, dependency, affinity, constraint, whitelist)")
	flags.StringArrayVarP(&f.hosts, "host", "H", nil, "`ADDRESS` to listen on: unix:///path or tcp://host:port; fd:// for sockets of systemd; repeat it for more (default: $SKEP_HOST, then tcp://127.0.0.1:2375)")
	flags.BoolVar(&f.insecure, "insecure", false, "allow plaintext TCP on addresses other than loopback")
	flags.BoolVar(&f.tls.Enable, "tls", false, "use TLS; implied by --tlsverify")
	flags.BoolVar(&f.tls.Verify, "tlsverify", false, "use TLS and take only certificates of --tlscacert, from clients and from engines")
	flags.StringVar(&f.tls.CA, "tlscacert", "", "`FILE` of the CA that clients and engines must have their certificates from")
	flags.StringVar(&f.tls.Cert, "tlscert", "", "`FILE` of skep's certificate")
	flags.StringVar(&f.tls.Key, "tlskey", "", "`FILE` of the key of skep's certificate")
	flags.StringVar(&f.refreshMin, "engine-refresh-min-interval", "30s", "least `DURATION` between full refreshes of an engine")
	flags.StringVar(&f.refreshMax, "engine-refresh-max-interval", "60s", "most `DURATION` between full refreshes of an engine")
	flags.IntVar(&f.failureRetry, "engine-failure-retry", 3, "`NUMBER` of probes in a row that must fail before an engine is unhealthy")
	flags.IntVar(&f.refreshRetry, "engine-refresh-retry", 3, "the former name of --engine-failure-retry")
	flags.StringVar(&f.heartbeat, "heartbeat", "60s", "`DURATION` between looks at discovery")
	flags.BoolVar(&f.cors, "api-enable-cors", false, "let web pages of any origin call the API")
	flags.BoolVar(&f.cors, "cors", false, "short for --api-enable-cors")
	flags.StringVarP(&f.driver, "cluster-driver", "c", "swarm", "the cluster driver; there is one")
	flags.StringArrayVar(&f.clusterOpts, "cluster-opt", nil, "`KEY=VALUE`: swarm.overcommit, the part of its CPU and memory that an engine may promise beyond what it has (0.05); swarm.createretry, how often a create that fails is tried again (0); repeat it for both")
	flags.StringArrayVar(&f.discovOpts, "discovery-opt", nil, "option of the discovery service, `KEY=VALUE`; repeat it for more")
	flags.StringVar(&f.configFile, "config", "", "take flags from this JSON `FILE`: an object whose keys are the names of flags")
	flags.StringVar(&f.stateDir, "state-dir", defaultStateDir, "`DIRECTORY` for what must be known after a restart")
	flags.StringArrayVar(&f.plugins, "authorization-plugin", nil, "ask this `PLUGIN` about each request, by Docker's plugin protocol; repeat it for more")
	flags.StringVar(&f.metricsAddr, "metrics-addr", "", "show /metrics and /debug/pprof on this `ADDRESS`, as 127.0.0.1:9323; off loopback only with --insecure")
	flags.StringVar(&f.shutdownTimeout, "shutdown-timeout", "10s", "`DURATION` that requests may go on when skep is stopped")
	flags.BoolVar(&f.replication, "replication", false, "be one of several managers, of which one is elected to act")
	flags.StringVar(&f.replicationTTL, "replication-ttl", "20s", "`DURATION` that a manager which is silent stays elected")
	flags.StringVar(&f.advertise, "advertise", "", "this manager's `ADDRESS` for the others, as host:port (default: $SKEP_ADVERTISE)")
	flags.StringVar(&f.advertise, "addr", "", "`ADDRESS`, short for --advertise")
	flags.BoolVar(&f.refreshNodeFilter, "refresh-on-node-filter", false, "read an engine again before a list with the filter node=")
	flags.StringVar(&f.refreshNameFilter, "container-name-refresh-filter", "", "read all engines again before a list with the filter name= of this `NAME`")
	for _, hidden := range []string{"engine-refresh-retry", "cluster-driver"} {
		_ = flags.MarkHidden(hidden)
	}
}

// config checks the flags, in the order in which standalone Swarm did.
func (f *manageFlags) config(args []string, getenv func(string) string, logger *slog.Logger) (daemon.ManageConfig, error) {
	cfg := daemon.ManageConfig{TLS: f.tls, Insecure: f.insecure, CORS: f.cors, FailureRetry: f.failureRetry, Hosts: f.hosts, Logger: logger}
	if err := f.tls.Check(); err != nil {
		return cfg, err
	}
	var err error
	if cfg.RefreshMin, err = time.ParseDuration(f.refreshMin); err != nil || cfg.RefreshMin <= 0 {
		return cfg, errors.New("min refresh interval should be a positive number")
	}
	if cfg.RefreshMax, err = time.ParseDuration(f.refreshMax); err != nil || cfg.RefreshMax < cfg.RefreshMin {
		return cfg, errors.New("max refresh interval cannot be less than min refresh interval")
	}
	if f.refreshRetry != 3 {
		return cfg, errors.New("--engine-refresh-retry is deprecated. Use --engine-failure-retry")
	}
	if f.failureRetry <= 0 {
		return cfg, errors.New("invalid failure retry count")
	}
	opts, err := f.discovery(&cfg, args, getenv)
	if err != nil {
		return cfg, err
	}
	// Strategy and filters come before the options that the policy needs, too.
	if _, err := placement.NewPolicy(f.strategy, f.filters, 0); err != nil {
		return cfg, err
	}
	if f.driver != "swarm" {
		return cfg, fmt.Errorf("unsupported cluster %q", f.driver)
	}
	overcommit, err := f.clusterOptions(&cfg)
	if err != nil {
		return cfg, err
	}
	if cfg.Policy, err = placement.NewPolicy(f.strategy, f.filters, overcommit); err != nil {
		return cfg, err
	}
	if overcommit < 0 {
		cfg.Logger.Warn("swarm.overcommit is below zero: a part of each engine's CPU and memory is never given away", "overcommit", overcommit)
	}
	if len(cfg.Hosts) == 0 {
		cfg.Hosts = hostsOf(getenv)
	}
	if f.replication {
		if cfg.Replication, err = f.replicated(cfg.DiscoveryURL, opts, getenv); err != nil {
			return cfg, err
		}
	}
	return cfg, f.service(&cfg)
}

// replicated checks the flags of a manager among others.
func (f *manageFlags) replicated(url string, opts map[string]string, getenv func(string) string) (*daemon.Replication, error) {
	r := &daemon.Replication{Discovery: url, Opts: opts}
	var err error
	if r.Advertise, err = advertised(f.advertise, getenv, "--advertise address must be provided when using --leader-election"); err != nil {
		return nil, err
	}
	if r.TTL, err = time.ParseDuration(f.replicationTTL); err != nil {
		return nil, fmt.Errorf("invalid --replication-ttl: %w", err)
	}
	if r.TTL <= 0 {
		return nil, errors.New("--replication-ttl should be a positive number")
	}
	switch scheme, _, _ := strings.Cut(url, "://"); scheme {
	case "consul", "etcd", "zk":
		return r, nil
	default:
		return nil, sentenceError("Leader election is only supported with consul, etcd and zookeeper discovery.")
	}
}

// service checks what standalone Swarm had no flags for.
func (f *manageFlags) service(cfg *daemon.ManageConfig) error {
	var err error
	if cfg.ShutdownTimeout, err = time.ParseDuration(f.shutdownTimeout); err != nil || cfg.ShutdownTimeout <= 0 {
		return fmt.Errorf("--shutdown-timeout should be a positive duration such as 10s, %q is none", f.shutdownTimeout)
	}
	if !filepath.IsAbs(f.stateDir) {
		return fmt.Errorf("--state-dir should be an absolute path, %q is none", f.stateDir)
	}
	cfg.StateDir, cfg.MetricsAddr = f.stateDir, f.metricsAddr
	cfg.StateRequired = f.stateDir != defaultStateDir
	cfg.AuthZPlugins = f.plugins
	cfg.RefreshNodeFilter, cfg.RefreshNameFilter = f.refreshNodeFilter, f.refreshNameFilter
	return nil
}

// discovery finds out where the engines are, and gives the --discovery-opt.
func (f *manageFlags) discovery(cfg *daemon.ManageConfig, args []string, getenv func(string) string) (opts map[string]string, err error) {
	if cfg.DiscoveryURL, err = discoveryArg("manage", args, getenv); err != nil {
		return nil, err
	}
	heartbeat, err := parseHeartbeat(f.heartbeat)
	if err != nil {
		return nil, err
	}
	if opts, err = parseOpts("--discovery-opt", f.discovOpts); err != nil {
		return nil, err
	}
	cfg.Discovery, err = backends.New(cfg.DiscoveryURL, discovery.Options{Heartbeat: heartbeat, Opts: opts, Logger: cfg.Logger})
	return opts, err
}

// clusterOptions reads the --cluster-opt. What is no number is an error here;
// standalone Swarm took it for zero.
func (f *manageFlags) clusterOptions(cfg *daemon.ManageConfig) (overcommit float64, err error) {
	opts, err := parseOpts("--cluster-opt", f.clusterOpts)
	if err != nil {
		return 0, err
	}
	overcommit = 0.05
	for key, value := range opts {
		switch key {
		case "swarm.overcommit":
			if overcommit, err = strconv.ParseFloat(value, 64); err != nil {
				return 0, fmt.Errorf("swarm.overcommit should be a number, %q is none", value)
			}
		case "swarm.createretry":
			if cfg.CreateRetry, err = strconv.Atoi(value); err != nil {
				return 0, fmt.Errorf("swarm.createretry should be a number, %q is none", value)
			}
			if cfg.CreateRetry < 0 {
				return 0, fmt.Errorf("swarm.createretry can not be negative, %d is invalid", cfg.CreateRetry)
			}
		default:
			return 0, fmt.Errorf("unknown --cluster-opt %q: there are swarm.overcommit and swarm.createretry", key)
		}
	}
	return overcommit, nil
}

func hostsOf(getenv func(string) string) []string {
	list := firstEnv(getenv, "SKEP_HOST", "SWARM_HOST")
	if list == "" {
		return []string{"tcp://127.0.0.1:2375"}
	}
	hosts := strings.Split(list, ",")
	for i, host := range hosts {
		hosts[i] = strings.TrimSpace(host)
	}
	return hosts
}
