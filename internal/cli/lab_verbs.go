package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/skep/skep/internal/lab"
)

// labVerb is a command that does one thing to the machines it names.
type labVerb struct {
	name, short, long string
	do                func(*lab.Lab, context.Context, ...string) error
}

var labVerbs = []labVerb{
	{"crash", "Cut the power of machines: all dies but the disk", `Cut the power of machines: no process survives, no packet leaves any more, only
the disk stays. "skep lab start" boots them again.`, (*lab.Lab).Crash},
	{"start", "Boot machines that are off, start engines that do not run", `Boot machines that are off, start engines that do not run, and wait until they
answer.`, (*lab.Lab).Start},
	{"stop", "Stop engines in an orderly way (SIGTERM)", `Stop engines in an orderly way (SIGTERM), with their containers, and wait for
it. The machines stay on.`, (*lab.Lab).Stop},
	{"kill", "Kill engines (SIGKILL)", `Kill engines (SIGKILL). Their containers run on until the engine is started
again; the machines stay on.`, (*lab.Lab).Kill},
	{"pause", "Freeze engines: they accept connections and never answer", `Freeze dockerd and its containerd (SIGSTOP). The engine hangs: the kernel goes
on accepting connections for it, and nobody answers. Containers run on.`, (*lab.Lab).Pause},
	{"unpause", "Let frozen engines go on", `Let frozen engines go on (SIGCONT).`, (*lab.Lab).Unpause},
	{"cut", "Take machines off the LAN", `Take machines off the LAN: nothing goes in or out, and nobody is told. Their
unix sockets stay reachable from this host.`, (*lab.Lab).Cut},
	{"heal", "Put machines that were cut back on the LAN", `Put machines that were cut back on the LAN.`, (*lab.Lab).Heal},
}

func newLabVerbCommand(cfg *lab.Config, verb labVerb) *cobra.Command {
	return &cobra.Command{
		Use:   verb.name + " MACHINE...",
		Short: verb.short,
		Long:  verb.long,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, machines []string) error {
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			return verb.do(l, cmd.Context(), machines...)
		},
	}
}
