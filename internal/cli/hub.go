package cli

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/skep/skep/internal/hub"
)

func newHubCommand() *cobra.Command {
	var cfg hub.Config
	cmd := &cobra.Command{
		Use:   "hub [OPTIONS]",
		Short: "Run a hub: the token service behind token:// discovery",

		DisableFlagsInUseLine: true,
		Long: `Run a hub: the token service behind token:// discovery.

Engines announce their addresses to it under a token (skep join), managers ask
it for the list (skep manage, skep list); skep create makes a token. One hub
serves any number of clusters and keeps them in one file. Whoever has a token
can read and change its list, so a hub that is reached over a network needs
TLS.`,
		Example: `  skep hub --data /var/lib/skep/hub.db --listen 0.0.0.0:2378 --tlscert cert.pem --tlskey key.pem
  skep create --hub https://hub.example.com:2378`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Rate <= 0 || cfg.Limits.Clusters <= 0 || cfg.Limits.PerCluster <= 0 || cfg.Limits.Addresses <= 0 || cfg.Limits.Unused <= 0 {
				return errors.New("--rate, --max-clusters, --max-addresses, --max-total and --forget must be larger than zero")
			}
			logger, err := newLogger(cmd)
			if err != nil {
				return err
			}
			cfg.Logger = logger
			// Without TLS there is nothing to reload, and no reason to die of it.
			hangup := make(chan os.Signal, 1) // a second one asks for the same
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			cfg.Reload = hangup
			h, err := hub.New(cfg)
			if err != nil {
				return err
			}
			for _, url := range h.URLs() {
				logger.Info("the hub is ready", "url", url, "data", cfg.Data)
			}
			return h.Run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&cfg.Listen, "listen", []string{"127.0.0.1:2378"}, "`ADDRESS` to listen on, host:port; may be repeated")
	flags.StringVar(&cfg.Data, "data", "/var/lib/skep/hub.db", "`FILE` that holds tokens and addresses")
	flags.StringVar(&cfg.TLSCert, "tlscert", "", "`FILE` with the hub's certificate; read again when it changes, and at SIGHUP")
	flags.StringVar(&cfg.TLSKey, "tlskey", "", "`FILE` with the key of the certificate")
	flags.BoolVar(&cfg.Insecure, "insecure", false, "Allow plaintext on addresses other than loopback")
	flags.DurationVar(&cfg.Limits.Unused, "forget", 90*24*time.Hour, "Drop tokens without addresses that nobody has used for this `DURATION`")
	flags.IntVar(&cfg.Limits.Clusters, "max-clusters", 10_000, "Tokens in all, at most `N`")
	flags.IntVar(&cfg.Limits.PerCluster, "max-addresses", 10_000, "Addresses of one token, at most `N`")
	flags.IntVar(&cfg.Limits.Addresses, "max-total", 200_000, "Addresses of all tokens, at most `N`")
	flags.Float64Var(&cfg.Rate, "rate", hub.DefaultRate, "Requests a second that one client may make, `N`")
	return cmd
}
