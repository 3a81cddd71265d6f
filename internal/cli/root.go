// Package cli is the command line of skep: one file a command. It reads
// flags, checks them, and hands the result to the package that does the work;
// it holds no behaviour of its own.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/skep/skep/internal/version"
)

// Streams are the standard streams a command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// ExitError ends the program with Code and prints nothing: whoever returns it
// has already said what there is to say.
type ExitError struct{ Code int }

func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

// Main runs skep with args (without the program's name) and returns its exit
// status. SIGINT and SIGTERM cancel the command's context; a second one ends
// the program at once.
func Main(args []string, streams Streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(ctx, args, streams)
}

// Run is Main without the signals: the end of ctx stands for them.
func Run(ctx context.Context, args []string, streams Streams) int {
	root := newRootCommand(os.Getenv)
	root.SetArgs(normalise(root, args))
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	var exit ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	default:
		fmt.Fprintln(streams.Err, "skep: "+err.Error())
		return 1
	}
}

// experimentalFlag is a flag of all commands, as standalone Swarm had it;
// manage alone has a use for it.
const experimentalFlag = "experimental"

func newRootCommand(getenv func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use:   "skep",
		Short: "Many Docker Engines as one",
		Long: `Many Docker Engines as one.

Flags may be written with one dash or with two: -strategy binpack is
--strategy binpack.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.Version + " (" + version.Commit() + ")",
		Args:          cobra.ArbitraryArgs,
		// A bad level is told before the command begins anything.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			_, err := logLevel(cmd)
			return err
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return noHelpTopic(cmd, args[0])
		},
	}
	// What follows a word that is no command is nobody's flag.
	root.Flags().SetInterspersed(false)
	addLogFlags(root, getenv)
	root.PersistentFlags().Bool(experimentalFlag, false, "say in info and version that skep is experimental (manage)")
	root.AddCommand(
		newCreateCommand(),
		newListCommand(),
		newManageCommand(),
		newJoinCommand(),
		newHubCommand(),
		newLabCommand(),
		newVersionCommand(),
	)
	root.SetHelpCommand(newHelpCommand(root))
	return root
}

func newHelpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Aliases: []string{"h"},
		Short:   "Say what skep can do, or one command of it",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return root.Help()
			}
			about, rest, err := root.Find(args)
			if err != nil || about == root || len(rest) > 0 && about.HasSubCommands() {
				return noHelpTopic(cmd, args[0])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// noHelpTopic is no error, as it was none in standalone Swarm: scripts know
// the status.
func noHelpTopic(cmd *cobra.Command, topic string) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "No help topic for '%s'\n", topic)
	return err
}
