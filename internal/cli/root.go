// Package cli is the command line of skep: one file a command. It reads
// flags, checks them, and hands the result to the package that does the work;
// it holds no behaviour of its own.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
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

	root := newRootCommand()
	root.SetArgs(args)
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

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "skep",
		Short:         "Many Docker Engines as one",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.Version + " (" + version.Commit() + ")",
	}
	addLogFlags(root)
	root.AddCommand(
		newManageCommand(),
		newListCommand(),
		newLabCommand(),
		newVersionCommand(),
	)
	return root
}
