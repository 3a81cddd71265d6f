package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/dockerapi/build"
	"github.com/skep/skep/internal/dockerapi/container"
	"github.com/skep/skep/internal/dockerapi/exec"
	"github.com/skep/skep/internal/dockerapi/image"
	"github.com/skep/skep/internal/dockerapi/network"
	"github.com/skep/skep/internal/dockerapi/swarm"
	"github.com/skep/skep/internal/dockerapi/system"
	"github.com/skep/skep/internal/dockerapi/volume"
	"github.com/skep/skep/internal/metrics"
	"github.com/skep/skep/internal/placement"
)

// ManageConfig is what `skep manage` is made of.
type ManageConfig struct {
	Discovery discovery.Backend
	Policy    *placement.Policy
	Hosts     []string
	TLS       TLSFiles
	Insecure  bool // plaintext TCP off loopback is allowed
	CORS      bool
	// Experimental is said in info, version and the header Docker-Experimental.
	Experimental bool
	Logger       *slog.Logger

	CreateRetry            int
	RefreshMin, RefreshMax time.Duration
	FailureRetry           int

	// RefreshNodeFilter reads an engine again before a list with the filter
	// node=; RefreshNameFilter all of them before one with name= of that name.
	RefreshNodeFilter bool
	RefreshNameFilter string

	// StateDir is for what must be known after a restart; "" for nowhere. If
	// it cannot be used that is an error only where StateRequired says so.
	StateDir      string
	StateRequired bool
	// DiscoveryURL is where Discovery looks, as the user wrote it.
	DiscoveryURL string
	// Replication is nil for a manager that is alone.
	Replication *Replication

	AuthZPlugins []string // names, in the order in which they are asked
	// MetricsAddr is where metrics and profiles are shown; "" for nowhere.
	MetricsAddr string
	// ShutdownTimeout is how long requests may go on after a stop; 0 for 10 s.
	ShutdownTimeout time.Duration

	// Reload asks to read the certificates again; nil for never. The sender
	// never closes it.
	Reload <-chan os.Signal
	// Inherited are the sockets that a service manager has handed over.
	Inherited []*os.File
	// Notify tells a service manager how things stand; nil for nobody.
	Notify func(state string) error
}

// manager is a running `skep manage`.
type manager struct {
	cfg         ManageConfig
	credentials *Credentials
	cluster     *cluster.Cluster
	metrics     *metrics.Metrics
	authorizer  *dockerapi.Authorizer
	service     serviceManager
	replication *replication // nil for a manager that is alone
}

// Manage makes the discovered engines one and serves them on all hosts until
// ctx is done.
func Manage(ctx context.Context, cfg ManageConfig) error {
	m := &manager{cfg: cfg, service: serviceManager{notify: cfg.Notify, logger: cfg.Logger}}
	var err error
	if m.credentials, err = LoadCredentials(cfg.TLS); err != nil {
		return err
	}
	clusterConfig := cluster.Config{
		Policy: cfg.Policy, Dial: m.credentials.Dial, Logger: cfg.Logger, CreateRetry: cfg.CreateRetry,
		RefreshMin: cfg.RefreshMin, RefreshMax: cfg.RefreshMax, FailureRetry: cfg.FailureRetry,
		Experimental: cfg.Experimental,
		ListRefresh:  cluster.ListRefresh{ByNode: cfg.RefreshNodeFilter, Name: cfg.RefreshNameFilter},
	}
	known, err := openLedger(cfg)
	if err != nil {
		return err
	}
	if known != nil {
		defer known.Close()
		clusterConfig.Ledger = known
	}
	if m.replication, err = newReplication(cfg.Replication, cfg.Logger); err != nil {
		return err
	}
	defer m.replication.close()
	if r := m.replication; r != nil {
		clusterConfig.Term, clusterConfig.Role = r.term, r.election.Role
	}
	if m.cluster, err = cluster.New(clusterConfig); err != nil {
		return err
	}
	m.metrics = metrics.New(cluster.ServerVersion, clusterCounts{m.cluster})
	if m.authorizer, err = findAuthorizer(ctx, cfg); err != nil {
		return err
	}
	if m.authorizer != nil {
		defer m.authorizer.Close()
	}
	return m.run(ctx)
}

// run opens the doors, and keeps all parts running until ctx is done or one of
// them fails.
func (m *manager) run(ctx context.Context) error {
	listeners, err := listenAll(m.cfg, dockerapi.ListenOptions{TLS: m.credentials.Server(), Insecure: m.cfg.Insecure})
	if err != nil {
		return err
	}
	watched, err := listenMetrics(m.cfg)
	if err != nil {
		closeAll(listeners)
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	// The engines are let go when nobody asks for them any more: requests under
	// way at a stop still need them.
	serving, served := context.WithCancel(context.WithoutCancel(ctx))
	defer served()
	server := dockerapi.NewServer(m.front(serving, ctx, &wg), m.cfg.Logger)
	if m.cfg.ShutdownTimeout > 0 {
		server.Grace = m.cfg.ShutdownTimeout
	}
	lists := make(chan []string)
	wg.Go(func() { follow(ctx, m.cfg, lists) })
	wg.Go(func() { m.cluster.Run(serving, lists) })
	wg.Go(func() { m.reloads(ctx) })
	if watched != nil {
		wg.Go(func() {
			if err := m.metrics.Serve(serving, watched); err != nil {
				m.cfg.Logger.Error("metrics are not shown any more", "err", err)
			}
		})
	}
	m.service.ready()
	wg.Go(func() {
		<-ctx.Done()
		m.service.stopping()
	})
	err = server.Serve(ctx, listeners...)
	cancel()
	served()
	wg.Wait()
	return err
}

// reloads reads the certificates again whenever it is asked to.
func (m *manager) reloads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.cfg.Reload:
			m.service.reloading()
			m.reload()
			m.service.ready()
		}
	}
}

func (m *manager) reload() {
	if m.credentials == nil {
		m.cfg.Logger.Info("there is nothing to reload without --tls or --tlsverify")
		return
	}
	err := m.credentials.Reload()
	m.metrics.Reloaded(err == nil)
	if err != nil {
		m.cfg.Logger.Error("the new certificates are no good, the former ones stay in use", "err", err)
		return
	}
	m.cfg.Logger.Info("new connections use the certificates that are there now")
}

// clusterCounts lets metrics ask a cluster.
type clusterCounts struct{ *cluster.Cluster }

var _ metrics.Source = clusterCounts{}

func (c clusterCounts) Counts() metrics.Counts { return metrics.Counts(c.Stats()) }

func findAuthorizer(ctx context.Context, cfg ManageConfig) (*dockerapi.Authorizer, error) {
	if len(cfg.AuthZPlugins) == 0 {
		return nil, nil
	}
	var plugins []*dockerapi.Plugin
	for _, name := range cfg.AuthZPlugins {
		p, err := dockerapi.FindPlugin(ctx, name, dockerapi.DockerPluginDirs())
		if err != nil {
			dockerapi.NewAuthorizer(cfg.Logger, plugins...).Close()
			return nil, err
		}
		plugins = append(plugins, p)
	}
	return dockerapi.NewAuthorizer(cfg.Logger, plugins...), nil
}

// front is what answers at the doors.
func (m *manager) front(ctx, stopping context.Context, wg *sync.WaitGroup) http.Handler {
	door, routers := m.frontDoor(), virtualEngine(m.cluster)
	if m.replication == nil {
		return dockerapi.NewHandler(door, routers...)
	}
	// Plugins, log and metrics stand in front of what is sent on, too.
	return dockerapi.Guard(door, m.replication.front(ctx, stopping, wg, m.cluster, dockerapi.Routes(door, routers...), m.credentials.Dial))
}

// virtualEngine is the API of many engines as one.
func virtualEngine(c *cluster.Cluster) []dockerapi.Router {
	return []dockerapi.Router{
		system.New(c),
		container.New(c),
		exec.New(c),
		image.New(c),
		build.New(c),
		network.New(c),
		volume.New(c),
		swarm.New(),
	}
}

// frontDoor is what is the same for whatever answers behind it.
func (m *manager) frontDoor() dockerapi.Options {
	return dockerapi.Options{
		Logger: m.cfg.Logger, APIVersion: m.cluster.APIVersion, Server: cluster.ServerVersion + " (linux)", CORS: m.cfg.CORS,
		Experimental: m.cfg.Experimental,
		Authorizer:   m.authorizer,
		Observe: func(o dockerapi.Observation) {
			m.metrics.Request(o.Method, o.Class, o.Status, o.Took)
		},
	}
}

// listenAll opens every host or none.
func listenAll(cfg ManageConfig, o dockerapi.ListenOptions) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, host := range cfg.Hosts {
		opened, err := listen(host, cfg.Inherited, o)
		if err != nil {
			closeAll(listeners)
			return nil, err
		}
		for _, l := range opened {
			cfg.Logger.Info("listening", "on", host, "address", l.Addr().String())
			warnOf(cfg, host, l)
		}
		listeners = append(listeners, opened...)
	}
	if len(listeners) == 0 {
		return nil, errors.New("no address to listen on; give one with -H")
	}
	return listeners, nil
}

func listen(host string, inherited []*os.File, o dockerapi.ListenOptions) ([]net.Listener, error) {
	if strings.HasPrefix(host, "fd://") {
		return dockerapi.ListenInherited(host, inherited, o)
	}
	l, err := dockerapi.Listen(host, o)
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// warnOf says, at every start, which doors stand open.
func warnOf(cfg ManageConfig, host string, l net.Listener) {
	switch {
	case !dockerapi.Exposed(l) || cfg.TLS.Verify:
	case cfg.TLS.Enable:
		cfg.Logger.Warn("this address takes anyone's commands: TLS without --tlsverify asks nobody who he is; use --tlsverify with --tlscacert", "on", host)
	default:
		cfg.Logger.Warn("this address takes anyone's commands, and sends them in the clear: --insecure was given; use --tlsverify with certificates", "on", host)
	}
}

// listenMetrics opens the address for metrics and profiles, which tell much of
// what runs, and need no certificate.
func listenMetrics(cfg ManageConfig) (net.Listener, error) {
	if cfg.MetricsAddr == "" {
		return nil, nil
	}
	l, err := dockerapi.Listen(cfg.MetricsAddr, dockerapi.ListenOptions{Insecure: true})
	if err != nil {
		return nil, fmt.Errorf("--metrics-addr: %w", err)
	}
	if dockerapi.Exposed(l) {
		if !cfg.Insecure {
			l.Close()
			return nil, fmt.Errorf("--metrics-addr %s: profiles tell what runs to anyone who can connect; use a loopback address, a unix socket, or --insecure if you must", cfg.MetricsAddr)
		}
		cfg.Logger.Warn("this address shows metrics and profiles to anyone", "on", cfg.MetricsAddr)
	}
	cfg.Logger.Info("showing metrics and profiles", "address", l.Addr().String())
	return l, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// follow passes on the lists of discovery until ctx is done. What discovery
// cannot read is logged; the engines that are known stay.
func follow(ctx context.Context, cfg ManageConfig, lists chan<- []string) {
	for update := range cfg.Discovery.Watch(ctx) {
		if update.Err != nil {
			cfg.Logger.Error("discovery", "err", update.Err)
			continue
		}
		addresses := make([]string, len(update.Entries))
		for i, entry := range update.Entries {
			addresses[i] = entry.String()
		}
		select {
		case lists <- addresses:
		case <-ctx.Done():
		}
	}
}
