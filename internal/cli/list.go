package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/backends"
)

func newListCommand() *cobra.Command {
	var (
		timeout string
		opts    []string
	)
	cmd := &cobra.Command{
		Use:     "list [OPTIONS] [DISCOVERY]",
		Aliases: []string{"l"},
		Short:   "List the engines that discovery knows",

		DisableFlagsInUseLine: true,
		Long: `List the addresses that the discovery service knows, one a line.

DISCOVERY is a list of addresses (10.0.0.1:2375,10.0.0.[2:9]:2375), a file
(file:///etc/skep/engines), a token (token://hub.example.com:2378/TOKEN) or
another discovery service; it is taken from the environment variable
SKEP_DISCOVERY or SWARM_DISCOVERY if it is not given. No engine is contacted.`,
		Example: `  skep list '10.0.0.[1:20]:2375'
  skep list file:///etc/skep/engines`,
		RunE: func(cmd *cobra.Command, args []string) error {
			url, err := discoveryArg("list", args, os.Getenv)
			if err != nil {
				return err
			}
			limit, err := time.ParseDuration(timeout)
			if err != nil {
				return fmt.Errorf("invalid --timeout: %w", err)
			}
			if limit <= 0 {
				return errors.New("--timeout should be a positive number")
			}
			kvs, err := parseOpts("--discovery-opt", opts)
			if err != nil {
				return err
			}
			backend, err := backends.New(url, discovery.Options{Heartbeat: limit, Opts: kvs})
			if err != nil {
				return err
			}
			defer closeBackend(backend)
			entries, err := firstEntries(cmd.Context(), backend, limit)
			if err != nil {
				return err
			}
			for _, entry := range entries {
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), entry); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&timeout, "timeout", "10s", "`DURATION` to wait for the list")
	cmd.Flags().StringArrayVar(&opts, "discovery-opt", nil, "Option of the discovery service, `KEY=VALUE`; may be repeated")
	return cmd
}

// firstEntries returns what backend sends first, and waits for its watch to
// end.
func firstEntries(ctx context.Context, backend discovery.Backend, timeout time.Duration) (discovery.Entries, error) {
	watch, cancel := context.WithTimeout(ctx, timeout)
	updates := backend.Watch(watch)
	defer func() {
		cancel()
		for range updates {
			// Until it is closed.
		}
	}()
	select {
	case u, open := <-updates:
		if open {
			return u.Entries, u.Err
		}
	case <-watch.Done():
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // the user's interrupt, not ours
	}
	return nil, sentenceError("Timed out")
}
