package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/skep/skep/internal/lab"
)

func newLabCommand() *cobra.Command {
	var cfg lab.Config
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Run several real Docker Engines on this machine",
		Long: `Run several real Docker Engines on this machine, for development, demos and tests.

Each engine has a small machine of its own: network, processes, mounts, host
name, disk and address. A LAN joins the machines, and nothing leaves it. Needs
Linux, root and an installed dockerd, which is not disturbed; $DOCKERD names
another one for the machines that are made.`,
		Example: `  skep lab up -n 3
  eval "$(skep lab env n1)"; docker ps
  skep lab exec hub -- docker -H tcp://10.99.0.11:2375 info
  skep lab crash n2; skep lab start n2
  skep lab down`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&cfg.Name, "name", "", "name of the lab (default: that of the lab in --dir, else "+lab.DefaultName+")")
	cmd.PersistentFlags().StringVar(&cfg.Dir, "dir", "", "directory of the lab (default: $SKEP_LAB_DIR, else "+lab.DefaultParent+"/NAME)")
	cmd.AddCommand(
		newLabCheckCommand(),
		newLabUpCommand(&cfg),
		newLabDownCommand(&cfg),
		newLabListCommand(&cfg),
		newLabEnvCommand(&cfg),
		newLabExecCommand(&cfg),
		newLabLoadCommand(&cfg),
		newLabHelperCommand(),
	)
	for _, verb := range labVerbs {
		cmd.AddCommand(newLabVerbCommand(&cfg, verb))
	}
	return cmd
}

func newLabCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Say whether Docker Engines can run here, and if not, why",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := lab.Supported(); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "Docker Engines can run here.")
			return err
		},
	}
}

func newLabUpCommand(cfg *lab.Config) *cobra.Command {
	var (
		machines int
		subnet   string
		labels   []string
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make the lab, add machines to it, bring all of them to running",
		Long: `Make the lab, add machines to it, bring all of them to running.

Afterwards n1 to nN exist and every machine of the lab is on, thawed and on the
LAN. Machines that run are left running, more than N are left to be, and one
that was off boots with the disk it had. Labels, dockerd flags and $DOCKERD are
for the machines that are made.`,
		Example: `  skep lab up -n 3 --load app.tar --label n1:rack=a --label n2:rack=b
  skep lab up -n 5 --dockerd-flag=--experimental
  skep lab up --name other --subnet 10.98.0.0/24`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if subnet != "" {
				prefix, err := netip.ParsePrefix(subnet)
				if err != nil {
					return fmt.Errorf("--subnet: %w", err)
				}
				cfg.Subnet = prefix
			}
			for _, text := range labels {
				label, err := lab.ParseLabel(text)
				if err != nil {
					return err
				}
				cfg.Labels = append(cfg.Labels, label)
			}
			cfg.Notify = func(message string) { fmt.Fprintln(cmd.ErrOrStderr(), "skep: "+message) }
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			if err := l.Up(cmd.Context(), machines); err != nil {
				return err
			}
			list, err := l.Status()
			if err != nil {
				return err
			}
			if err := printMachines(cmd.OutOrStdout(), list); err != nil {
				return err
			}
			return printUsage(cmd, l)
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&machines, "machines", "n", 3, "how many machines there are at least: n1 to nN")
	flags.StringVar(&subnet, "subnet", "", "network of a new lab (default 10.99.0.0/24); the LAN has the first address, nK has 10+K")
	flags.StringArrayVar(&cfg.Images, "load", nil, "load the images of this tar file into all machines (repeatable)")
	flags.StringArrayVar(&labels, "label", nil, "engine label KEY=VALUE, or MACHINE:KEY=VALUE for one machine (repeatable)")
	flags.StringArrayVar(&cfg.DockerdFlags, "dockerd-flag", nil, "add this to dockerd's command line (repeatable)")
	return cmd
}

func newLabDownCommand(cfg *lab.Config) *cobra.Command {
	return &cobra.Command{
		Use:   "down [MACHINE...]",
		Short: "Remove the lab, or only some machines, with all they hold",
		Long: `Remove the lab, or only some machines, with all they hold: processes (those
started in the LAN too), networks, cgroups, disks. It also cleans up after a
command that was interrupted and after a reboot of the host.`,
		RunE: func(cmd *cobra.Command, machines []string) error {
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			return l.Down(cmd.Context(), machines...)
		},
	}
}

func newLabListCommand(cfg *lab.Config) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the machines and what they are doing",
		Long: `List the machines and what they are doing.

  running  the engine runs and is on the LAN
  paused   the engine is frozen (+cut: and the machine off the LAN)
  cut      the engine runs, the machine is off the LAN
  stopped  the machine is on, its engine does not run
  off      no power

MEMORY is what dockerd and its containerd hold in RAM.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			list, err := l.Status()
			if errors.Is(err, lab.ErrNoLab) {
				fmt.Fprintln(cmd.ErrOrStderr(), err)
				list, err = []lab.Status{}, nil
			}
			if err != nil {
				return err
			}
			if asJSON {
				out := json.NewEncoder(cmd.OutOrStdout())
				out.SetIndent("", "  ")
				return out.Encode(list)
			}
			return printMachines(cmd.OutOrStdout(), list)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

func newLabEnvCommand(cfg *lab.Config) *cobra.Command {
	return &cobra.Command{
		Use:   "env [MACHINE]",
		Short: "Print shell lines that point programs at a machine, or at the lab",
		Long: `Print shell lines that point programs at a machine, or at the lab.

For a machine: DOCKER_HOST. For the lab: SKEP_LAB_DIR, which further skep lab
commands understand; SKEP_LAB_ENGINES, the engines' addresses on the LAN;
SKEP_LAB_DISCOVERY, the same as a nodes:// line.`,
		Example: `  eval "$(skep lab env n1)"; docker ps
  eval "$(skep lab env)"; echo "$SKEP_LAB_ENGINES"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			machines := l.Machines()
			if len(machines) == 0 {
				return fmt.Errorf("%w %q in %s; skep lab up makes one", lab.ErrNoLab, l.Name(), l.Dir())
			}
			out := cmd.OutOrStdout()
			if len(args) == 0 {
				printExport(out, "SKEP_LAB_DIR", l.Dir())
				printExport(out, "SKEP_LAB_ENGINES", lab.Engines(machines))
				printExport(out, "SKEP_LAB_DISCOVERY", lab.Discovery(machines))
				return nil
			}
			for _, m := range machines {
				if m.Name == args[0] {
					printExport(out, "DOCKER_HOST", m.Host())
					return nil
				}
			}
			return fmt.Errorf("no machine %q in lab %q; skep lab ls shows them", args[0], l.Name())
		},
	}
}

func newLabExecCommand(cfg *lab.Config) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec MACHINE|hub [--] COMMAND [ARG...]",
		Short: "Run a program in a machine, or on the LAN",
		Long: `Run a program in a machine, or on the LAN.

"hub" is the LAN itself: the program has the host's files and processes, and the
lab's network for its only one; unix sockets that it makes are reachable from
the host. In a machine the program sees that machine's processes, mounts and
host name, and its engine is docker's default one.`,
		Example: `  skep lab exec hub -- curl http://10.99.0.11:2375/_ping
  skep lab exec n1 -- docker ps
  skep lab exec n1 sh`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			target, argv := args[0], args[1:]
			if argv[0] == "--" {
				argv = argv[1:]
			}
			if len(argv) == 0 {
				return errors.New("no command to run; see skep lab exec --help")
			}
			return exit(l.Exec(target, argv))(cmd)
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func newLabLoadCommand(cfg *lab.Config) *cobra.Command {
	return &cobra.Command{
		Use:   "load TAR [MACHINE...]",
		Short: "Load the images of a tar file (docker save) into all machines, or some",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.New(*cfg)
			if err != nil {
				return err
			}
			return l.Load(cmd.Context(), args[0], args[1:]...)
		},
	}
}

// newLabHelperCommand is what package lab runs this executable again with.
func newLabHelperCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "machine",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return exit(lab.RunHelper(args, cmd.OutOrStdout()))(cmd)
		},
	}
}

// exit ends the program with a status, having said what went wrong if
// anything did.
func exit(code int, err error) func(*cobra.Command) error {
	return func(cmd *cobra.Command) error {
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "skep: "+err.Error())
			code = max(code, 1)
		}
		if code == 0 {
			return nil
		}
		return ExitError{Code: code}
	}
}

func printMachines(out io.Writer, list []lab.Status) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "MACHINE\tADDRESS\tSTATE\tDOCKERD\tMEMORY\tSOCKET")
	for _, m := range list {
		state, pid, memory := string(m.State), "-", "-"
		if m.Cut && m.State != lab.StateCut {
			state += "+cut"
		}
		if m.PID != 0 {
			pid, memory = fmt.Sprint(m.PID), units.BytesSize(float64(m.Memory))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.Addr, state, pid, memory, m.Socket)
	}
	return table.Flush()
}

// printUsage says how to reach the machines of the lab that was just made.
func printUsage(cmd *cobra.Command, l *lab.Lab) error {
	skep := "skep lab"
	for _, name := range []string{"name", "dir"} {
		if f := cmd.Flag(name); f.Changed {
			skep += " --" + name + " " + shellQuote(f.Value.String())
		}
	}
	first := l.Machines()[0]
	_, err := fmt.Fprintf(cmd.OutOrStdout(), `
from this host:  eval "$(%[1]s env %[2]s)"; docker ps
on the LAN:      %[1]s exec hub -- docker -H tcp://%[3]s ps
in a machine:    %[1]s exec %[2]s -- docker ps
to the end:      %[1]s down
`, skep, first.Name, first.TCP())
	return err
}

func printExport(out io.Writer, name, value string) {
	fmt.Fprintf(out, "export %s=%s\n", name, shellQuote(value))
}

var shellSafe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

func shellQuote(s string) string {
	if shellSafe.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
