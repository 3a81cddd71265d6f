package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/token"
)

func newCreateCommand() *cobra.Command {
	var (
		hub  string
		opts []string
	)
	cmd := &cobra.Command{
		Use:     "create [OPTIONS]",
		Aliases: []string{"c"},
		Short:   "Make a token for token:// discovery",

		DisableFlagsInUseLine: true,
		Long: `Ask a hub for a new token, and print it.

The hub is a program of your own: skep hub. Its address is given by --hub or by
the environment variable SKEP_HUB. Whoever has the token can read and change
the list of engines.`,
		Example: `  skep create --hub https://hub.example.com:2378
  skep join --advertise 10.0.0.1:2375 token://hub.example.com:2378/TOKEN`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return sentenceError("the `create` command takes no arguments. See 'skep create --help'.")
			}
			kvs, err := parseOpts("--discovery-opt", opts)
			if err != nil {
				return err
			}
			if hub != "" {
				kvs[token.HubOption] = hub
			}
			made, err := token.Create(cmd.Context(), discovery.Options{Opts: kvs})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), made)
			return err
		},
	}
	cmd.Flags().StringVar(&hub, "hub", "", "`URL` of the hub, https://host:port (default: $SKEP_HUB)")
	cmd.Flags().StringArrayVar(&opts, "discovery-opt", nil, "Option of the hub's client, `KEY=VALUE`, such as token.cacertfile=ca.pem; may be repeated")
	return cmd
}
