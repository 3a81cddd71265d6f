package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func noEnv(string) string { return "" }

func TestNormalise(t *testing.T) {
	for _, tc := range []struct{ name, args, want string }{
		{"one dash", "manage -strategy binpack a:1", "manage --strategy binpack a:1"},
		{"one dash and a value", "manage -engine-refresh-min-interval=5s a:1", "manage --engine-refresh-min-interval=5s a:1"},
		{"a switch takes no value", "manage -tlsverify -tlscacert ca a:1", "manage --tlsverify --tlscacert ca a:1"},
		{"a switch with a value", "manage -cors=true a:1", "manage --cors=true a:1"},
		{"two dashes stay", "manage --strategy binpack --tls a:1", "manage --strategy binpack --tls a:1"},
		{"a short flag stays", "manage -H unix:///x -f port -c swarm a:1", "manage -H unix:///x -f port -c swarm a:1"},
		{"a short flag with two dashes", "manage --H unix:///x --f port a:1", "manage -H unix:///x -f port a:1"},
		{"a short flag and a value", "manage -H=unix:///x -f= a:1", "manage --host=unix:///x --filter= a:1"},
		{"a short flag with its value behind it", "manage -fport a:1", "manage -fport a:1"},
		{"short flags together", "-vh", "-vh"},
		{"global flags before the command", "-debug -log-level warn manage -replication-x a:1", "--debug --log-level warn manage --replication-x a:1"},
		{"a global flag named like a command", "-l manage l a:1", "-l manage l a:1"},
		{"a global flag behind the command", "l -log-level debug a:1", "l --log-level debug a:1"},
		{"help and version", "-help -version", "--help --version"},
		{"help of a command", "j -help", "j --help"},
		{"short help with two dashes", "--h --v", "-h -v"},
		{"a value that looks like a flag", "manage -strategy -tls a:1", "manage --strategy -tls a:1"},
		{"a value that looks like a flag, of a short one", "manage -H -tls -tls", "manage -H -tls --tls"},
		{"a value that looks like a command", "list -timeout list list", "list --timeout list list"},
		{"flags behind the argument", "list a:1 -timeout 1s", "list a:1 --timeout 1s"},
		{"the end of flags", "list -timeout 1s -- -timeout 2s", "list --timeout 1s -- -timeout 2s"},
		{"one dash alone", "list - -timeout 1s", "list - --timeout 1s"},
		{"an unknown flag", "list -bogus a:1", "list --bogus a:1"},
		{"an unknown short flag", "list -z a:1", "list -z a:1"},
		{"nothing but dashes", "list -= --= ---x", "list -= --= ---x"},
		{"an unknown command", "bogus -debug", "bogus -debug"},
		{"a command's command", "lab -name x up -machines 3", "lab --name x up --machines 3"},
		{"another program's flags", "lab exec -name x n1 find -name x", "lab exec --name x n1 find -name x"},
		{"a command that reads its own flags", "lab machine -name x", "lab machine -name x"},
		{"a flag without its value", "list -timeout", "list --timeout"},
		{"nothing", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := strings.Fields(tc.args)
			got := normalise(newRootCommand(noEnv), args)
			if diff := cmp.Diff(strings.Fields(tc.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNormalise_leavesNothingBehind(t *testing.T) {
	root := newRootCommand(noEnv)
	normalise(root, []string{"lab", "exec", "n1", "ps", "-name"})
	exec := subCommand(subCommand(root, "lab"), "exec")
	if n := exec.Flags().NFlag(); n != 0 || exec.Flags().ArgsLenAtDash() != -1 {
		t.Errorf("%d flags are set, dash at %d", n, exec.Flags().ArgsLenAtDash())
	}
}

func FuzzNormalise(f *testing.F) {
	for _, seed := range []string{
		"manage -strategy binpack a:1", "-l debug list -timeout=1s a:1", "manage -fport -H=x --f y", "lab exec n1 ls -name", "list -- -x", "- -- --- = -= --=x", "-é --é=1 list -é",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		root := newRootCommand(noEnv)
		got := normalise(root, args)
		if len(got) != len(args) {
			t.Fatalf("%q became %q", args, got)
		}
		for i, arg := range args {
			if got[i] == arg {
				continue
			}
			if !strings.HasPrefix(arg, "-") || !strings.HasPrefix(got[i], "-") {
				t.Fatalf("%q became %q, which is no flag", arg, got[i])
			}
			_, before, had := strings.Cut(arg, "=")
			_, after, has := strings.Cut(got[i], "=")
			if had != has || before != after {
				t.Fatalf("the value of %q changed: %q", arg, got[i])
			}
		}
		if again := normalise(newRootCommand(noEnv), got); !cmp.Equal(again, got) {
			t.Fatalf("%q became %q, and that %q", args, got, again)
		}
	})
}
