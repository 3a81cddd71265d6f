package cli

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// manageWithFile reads a configuration file and flags, as `skep manage` does.
func manageWithFile(t *testing.T, text string, args ...string) (manageFlags, []string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "skep.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var f manageFlags
	var rest []string
	cmd := &cobra.Command{Use: "manage", SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs}
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	f.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		rest, err = f.readConfigFile(cmd, args)
		return err
	}
	cmd.SetArgs(append([]string{"--config", path}, args...))
	err := cmd.Execute()
	return f, rest, err
}

func TestConfigFile_givesFlagsTheirValues(t *testing.T) {
	f, args, err := manageWithFile(t, `{
		"host": ["unix:///run/skep.sock", "tcp://127.0.0.1:2376"],
		"filter": "health",
		"strategy": "binpack",
		"engine-failure-retry": 5,
		"tls": true, "tlscert": "c", "tlskey": "k",
		"heartbeat": "20s",
		"discovery": "nodes://10.0.0.1:2375"
	}`)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.hosts) != 2 || f.hosts[1] != "tcp://127.0.0.1:2376" || len(f.filters) != 1 || f.strategy != "binpack" || f.failureRetry != 5 || !f.tls.Enable || f.heartbeat != "20s" {
		t.Errorf("got %+v", f)
	}
	if len(args) != 1 || args[0] != "nodes://10.0.0.1:2375" {
		t.Errorf("arguments %q", args)
	}
	if f.refreshMin != "30s" {
		t.Error("a flag that is not in the file has lost its default")
	}
}

func TestConfigFile_saysWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		args       []string
		want       string
	}{
		{"an unknown key", `{"hots": "x", "strat": 1}`, nil, `there is no flag "hots", "strat"; the keys are the names of flags`},
		{"a short name", `{"H": "unix:///x"}`, nil, `there is no flag "H"`},
		{"a file in a file", `{"config": "x"}`, nil, `there is no flag "config"`},
		{"a flag and the file", `{"strategy": "spread", "host": ["x"]}`, []string{"--strategy", "binpack", "-H", "y"}, "given both as a flag and in the file, where only one can count: strategy, host"},
		{"a flag by its other name and the file", `{"advertise": "a:1", "cors": true}`, []string{"--addr", "b:1", "--api-enable-cors=false"}, "only one can count: advertise, cors"},
		{"two discoveries", `{"discovery": "a:1"}`, []string{"b:1"}, "only one can count: discovery"},
		{"a key twice", `{"host": "x", "host": "y"}`, nil, `"host" is there twice`},
		{"a list for a flag that takes one value", `{"strategy": ["spread", "binpack"]}`, nil, `"strategy" takes one value, not a list`},
		{"an object", `{"cluster-opt": {"a": "b"}}`, nil, `"cluster-opt" should be a text, a number, a boolean, or a list of those`},
		{"nothing", `{"strategy": null}`, nil, `"strategy" should be a text`},
		{"a list of lists", `{"host": [["x"]]}`, nil, `"host" should be a text`},
		{"a value that a flag does not take", `{"engine-failure-retry": "many"}`, nil, `"engine-failure-retry": `},
		{"no object", `["x"]`, nil, "it should be a JSON object"},
		{"an empty file", ``, nil, "it should be a JSON object"},
		{"half a file", `{"host": "x"`, nil, "no JSON"},
		{"more than an object", `{} {}`, nil, "there is something behind the JSON object"},
		{"a huge file", `{"host": "` + strings.Repeat("x", 2<<20) + `"}`, nil, "is larger than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := manageWithFile(t, tc.text, tc.args...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestConfigFile_thatIsNotThere(t *testing.T) {
	if code := Main([]string{"manage", "--config", filepath.Join(t.TempDir(), "no"), "a:1"}, Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}); code != 1 {
		t.Errorf("status %d", code)
	}
}

func FuzzConfigFile_isReadOrRefused(f *testing.F) {
	for _, seed := range []string{`{"host":["a","b"],"tls":true,"n":1e3}`, `{"a":{}}`, `{"a":1,"a":2}`, `[`, `{"a":[1,[2]]}`, `{"":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, err := parseSettings(text)
		if err != nil {
			return
		}
		for _, s := range settings {
			if !s.list && len(s.values) != 1 {
				t.Errorf("%q has %d values", s.name, len(s.values))
			}
		}
	})
}
