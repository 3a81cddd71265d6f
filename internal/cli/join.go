package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/backends"
)

const (
	// registerTimeout is for one announcement; a shorter heartbeat shortens it.
	registerTimeout = 10 * time.Second
	// deregisterTimeout is how long the end of skep join may take.
	deregisterTimeout = 5 * time.Second
)

// joinFlags are the flags of `skep join` as they are given: durations stay text
// until they are checked, in the order in which people expect to be told.
type joinFlags struct {
	advertise             string
	heartbeat, ttl, delay string
	opts                  []string
}

// joining is what `skep join` does, with all flags checked.
type joining struct {
	backend               discovery.Backend
	addr                  string
	heartbeat, ttl, delay time.Duration
	logger                *slog.Logger
}

func newJoinCommand() *cobra.Command {
	var f joinFlags
	cmd := &cobra.Command{
		Use:     "join [OPTIONS] [DISCOVERY]",
		Aliases: []string{"j"},
		Short:   "Announce an engine to the discovery service",

		DisableFlagsInUseLine: true,
		Long: `Announce the address of an engine to the discovery service, again and again
until it is stopped, and take it back then.

DISCOVERY is a place where addresses can be announced, such as
token://hub.example.com:2378/TOKEN, or taken from the environment variable
SKEP_DISCOVERY or SWARM_DISCOVERY if it is not given. While the service fails,
skep tries again at each heartbeat.`,
		Example: `  skep join --advertise 10.0.0.1:2375 token://hub.example.com:2378/TOKEN`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			logger, err := newLogger(cmd)
			if err != nil {
				return err
			}
			j, err := f.joining(args, os.Getenv, logger)
			if err != nil {
				return err
			}
			return j.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.advertise, "advertise", "", "`ADDRESS` at which managers reach this engine, host:port (default: $SKEP_ADVERTISE, then $SWARM_ADVERTISE)")
	flags.StringVar(&f.advertise, "addr", "", "Short for --advertise")
	flags.StringVar(&f.heartbeat, "heartbeat", "60s", "`DURATION` between two announcements")
	flags.StringVar(&f.ttl, "ttl", "180s", "`DURATION` for which one announcement counts")
	flags.StringVar(&f.delay, "delay", "0s", "Wait a random `DURATION` up to this before the first announcement")
	flags.StringArrayVar(&f.opts, "discovery-opt", nil, "Option of the discovery service, `KEY=VALUE`; may be repeated")
	return cmd
}

// joining checks the flags, in the order in which standalone Swarm did.
func (f *joinFlags) joining(args []string, getenv func(string) string, logger *slog.Logger) (*joining, error) {
	url, err := discoveryArg("join", args, getenv)
	if err != nil {
		return nil, err
	}
	j := &joining{logger: logger}
	if j.addr, err = advertised(f.advertise, getenv, "missing mandatory --advertise flag"); err != nil {
		return nil, err
	}
	if j.delay, err = time.ParseDuration(f.delay); err != nil {
		return nil, fmt.Errorf("invalid --delay: %w", err)
	}
	if j.delay < 0 {
		return nil, errors.New("--delay should not be a negative number")
	}
	if j.heartbeat, err = parseHeartbeat(f.heartbeat); err != nil {
		return nil, err
	}
	if j.ttl, err = time.ParseDuration(f.ttl); err != nil {
		return nil, fmt.Errorf("invalid --ttl: %w", err)
	}
	if j.ttl <= j.heartbeat {
		return nil, errors.New("--ttl must be strictly superior to the heartbeat value")
	}
	kvs, err := parseOpts("--discovery-opt", f.opts)
	if err != nil {
		return nil, err
	}
	j.backend, err = backends.New(url, discovery.Options{Heartbeat: j.heartbeat, TTL: j.ttl, Opts: kvs, Logger: logger})
	return j, err
}

// advertised is the address of --advertise or, if it was not given, the
// environment's. Missing is the error where there is none.
func advertised(addr string, getenv func(string) string, missing string) (string, error) {
	if addr == "" {
		addr = firstEnv(getenv, "SKEP_ADVERTISE", "SWARM_ADVERTISE")
	}
	switch {
	case addr == "":
		return "", errors.New(missing)
	case !isHostPort(addr):
		return "", errors.New("--advertise should be of the form ip:port or hostname:port")
	}
	return addr, nil
}

// isHostPort takes any text for the host, as standalone Swarm did: who dials
// the address finds out.
func isHostPort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n >= 1 && n <= 65535
}

// parseHeartbeat reads the value of --heartbeat.
func parseHeartbeat(text string) (time.Duration, error) {
	heartbeat, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("invalid --heartbeat: %w", err)
	}
	if heartbeat < time.Second {
		return 0, errors.New("--heartbeat should be at least one second")
	}
	return heartbeat, nil
}

// run announces the address until ctx is done, whatever the discovery service
// says, and then takes it back if that is possible in time. It does not fail.
func (j *joining) run(ctx context.Context) error {
	defer closeBackend(j.backend)
	if j.delay > 0 {
		delay := rand.N(j.delay)
		j.logger.Info("Waiting before the first registration", "delay", delay)
		if !wait(ctx, delay) {
			return nil
		}
	}
	for ctx.Err() == nil {
		j.logger.Info(fmt.Sprintf("Registering on the discovery service every %s...", j.heartbeat), "addr", j.addr)
		if err := j.register(ctx); err != nil && ctx.Err() == nil {
			j.logger.Error("Registering failed, it is tried again", "in", j.heartbeat, "err", err)
		}
		wait(ctx, j.heartbeat)
	}
	j.deregister(context.WithoutCancel(ctx))
	return nil
}

func (j *joining) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(registerTimeout, j.heartbeat))
	defer cancel()
	return j.backend.Register(ctx, j.addr)
}

func (j *joining) deregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, deregisterTimeout)
	defer cancel()
	switch err := j.backend.Deregister(ctx, j.addr); {
	case errors.Is(err, discovery.ErrNotImplemented):
	case err != nil:
		j.logger.Warn("The address could not be taken back, it is listed until its time runs out", "addr", j.addr, "ttl", j.ttl, "err", err)
	default:
		j.logger.Info("Deregistered from the discovery service", "addr", j.addr)
	}
}

// wait says whether d has passed, and not ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// closeBackend ends the connections of a backend that keeps any.
func closeBackend(b discovery.Backend) {
	if c, ok := b.(io.Closer); ok {
		_ = c.Close()
	}
}
