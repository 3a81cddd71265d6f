package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// normalise turns flags as Go programs and standalone Swarm write them, with
// one dash or two for any name, into those that cobra reads:
//
//	-strategy binpack      --strategy binpack
//	-tls=true              --tls=true
//	--H unix:///x          -H unix:///x
//
// It has to know the flags of the commands that args name, because an argument
// behind a flag may be its value, which is never touched, and because -fport
// is -f port unless there is a flag of that name. Behind "--", and where a
// command reads its arguments by itself, all is left as it is. The result has
// as many elements as args.
func normalise(root *cobra.Command, args []string) []string {
	out := make([]string, 0, len(args))
	at := root
	initFlags(at)
	mayName := true // whether the next argument may name a sub-command
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--" || at.DisableFlagParsing:
			return append(out, args[i:]...)
		case len(arg) < 2 || arg[0] != '-': // "-" is an argument as well
			sub := subCommand(at, arg)
			if sub == nil || !mayName {
				if at == root || !takesFlagsAnywhere(at) {
					return append(out, args[i:]...)
				}
				mayName = false
			} else {
				at = sub
				initFlags(at)
			}
			out = append(out, arg)
		default:
			flag, value := rewrite(at, arg)
			out = append(out, flag)
			if value && i+1 < len(args) {
				i++
				out = append(out, args[i])
			}
		}
	}
	return out
}

// initFlags adds the flags that cobra would only add later.
func initFlags(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
}

func subCommand(cmd *cobra.Command, name string) *cobra.Command {
	for _, sub := range cmd.Commands() {
		if sub.Name() == name || sub.HasAlias(name) {
			return sub
		}
	}
	return nil
}

// takesFlagsAnywhere tells whether flags may follow the arguments of cmd, as
// they may not where arguments are another program's command line. pflag does
// not say, so it is asked: what is no flag at all is an error to it wherever
// it would read one, and changes nothing.
func takesFlagsAnywhere(cmd *cobra.Command) bool {
	return cmd.Flags().Parse([]string{"argument", "--=no flag"}) != nil
}

// rewrite gives arg, which begins with a dash, in cobra's spelling, and says
// whether the argument behind it is its value.
func rewrite(cmd *cobra.Command, arg string) (flag string, value bool) {
	long := strings.HasPrefix(arg, "--")
	name, given, hasValue := strings.Cut(strings.TrimLeft(arg[:2], "-")+arg[2:], "=")
	if name == "" {
		return arg, false // cobra says what is wrong with it
	}
	if f := longFlag(cmd, name); f != nil {
		if hasValue {
			return "--" + name + "=" + given, false
		}
		return "--" + name, wantsValue(f)
	}
	if len(name) == 1 {
		f := shortFlag(cmd, name)
		switch {
		case f == nil:
			return arg, false
		case hasValue:
			// pflag takes -f= for -f with the value "=".
			return "--" + f.Name + "=" + given, false
		}
		return "-" + name, wantsValue(f)
	}
	if long || shortFlag(cmd, name[:1]) == nil {
		return "--" + strings.TrimLeft(arg[:2], "-") + arg[2:], false // an unknown flag, and cobra says so
	}
	return arg, lastWantsValue(cmd, arg[1:])
}

// lastWantsValue reads shorthands that stand together, the last of which may
// have a value: in -lf it may be the next argument, in -fport it is not.
func lastWantsValue(cmd *cobra.Command, letters string) bool {
	for i := range len(letters) {
		f := shortFlag(cmd, letters[i:i+1])
		switch {
		case f == nil:
			return false
		case wantsValue(f):
			return i == len(letters)-1
		}
	}
	return false
}

// wantsValue tells whether a flag without "=" takes the next argument.
func wantsValue(f *pflag.Flag) bool { return f.NoOptDefVal == "" }

func longFlag(cmd *cobra.Command, name string) *pflag.Flag {
	return findFlag(cmd, func(flags *pflag.FlagSet) *pflag.Flag { return flags.Lookup(name) })
}

func shortFlag(cmd *cobra.Command, letter string) *pflag.Flag {
	return findFlag(cmd, func(flags *pflag.FlagSet) *pflag.Flag { return flags.ShorthandLookup(letter) })
}

// findFlag looks among the flags of cmd and those that it has from above.
func findFlag(cmd *cobra.Command, lookup func(*pflag.FlagSet) *pflag.Flag) *pflag.Flag {
	if f := lookup(cmd.Flags()); f != nil {
		return f
	}
	for ; cmd != nil; cmd = cmd.Parent() {
		if f := lookup(cmd.PersistentFlags()); f != nil {
			return f
		}
	}
	return nil
}
