package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/dockerapi/container"
	"github.com/skep/skep/internal/dockerapi/exec"
	"github.com/skep/skep/internal/dockerapi/image"
	"github.com/skep/skep/internal/dockerapi/network"
	"github.com/skep/skep/internal/dockerapi/swarm"
	"github.com/skep/skep/internal/dockerapi/system"
	"github.com/skep/skep/internal/dockerapi/volume"
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
	Logger    *slog.Logger

	CreateRetry            int
	RefreshMin, RefreshMax time.Duration
	FailureRetry           int
}

// Manage makes the discovered engines one and serves them on all hosts until
// ctx is done.
func Manage(ctx context.Context, cfg ManageConfig) error {
	serverTLS, engineTLS, err := cfg.TLS.configs()
	if err != nil {
		return err
	}
	c, err := cluster.New(cluster.Config{
		Policy: cfg.Policy, TLS: engineTLS, Logger: cfg.Logger, CreateRetry: cfg.CreateRetry,
		RefreshMin: cfg.RefreshMin, RefreshMax: cfg.RefreshMax, FailureRetry: cfg.FailureRetry,
	})
	if err != nil {
		return err
	}
	listeners, err := listenAll(cfg, dockerapi.ListenOptions{TLS: serverTLS, Insecure: cfg.Insecure})
	if err != nil {
		return err
	}
	server := dockerapi.NewServer(virtualEngine(c, cfg), cfg.Logger)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	lists := make(chan []string)
	wg.Go(func() { follow(ctx, cfg, lists) })
	wg.Go(func() { c.Run(ctx, lists) })
	err = server.Serve(ctx, listeners...)
	cancel()
	wg.Wait()
	return err
}

// virtualEngine is the API of many engines as one.
func virtualEngine(c *cluster.Cluster, cfg ManageConfig) http.Handler {
	return dockerapi.NewHandler(dockerapi.Options{
		Logger: cfg.Logger, APIVersion: c.APIVersion, Server: cluster.ServerVersion + " (linux)", CORS: cfg.CORS,
	},
		system.New(c),
		container.New(c),
		exec.New(c),
		image.New(c),
		network.New(c),
		volume.New(c),
		swarm.New(),
	)
}

// listenAll opens every host or none.
func listenAll(cfg ManageConfig, o dockerapi.ListenOptions) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, host := range cfg.Hosts {
		l, err := dockerapi.Listen(host, o)
		if err != nil {
			for _, open := range listeners {
				open.Close()
			}
			return nil, err
		}
		cfg.Logger.Info("listening", "on", host)
		if o.TLS == nil && cfg.Insecure && l.Addr().Network() == "tcp" {
			cfg.Logger.Warn("this address takes anyone's commands without TLS", "on", host)
		}
		listeners = append(listeners, l)
	}
	if len(listeners) == 0 {
		return nil, errors.New("no address to listen on; give one with -H")
	}
	return listeners, nil
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
