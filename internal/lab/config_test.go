package lab

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"lab": true, "l": true, "lt1": true, "abcdefgh": true,
		"": false, "abcdefghi": false, "1lab": false, "Lab": false, "la-b": false, "la b": false, "../x": false,
		"docker": false, "system": false,
	} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("checkName(%q) = %v, want ok %v", name, err, ok)
		}
	}
}

func TestCheckDir_refusesWhatAMachineReplacesAndWhatIsTooLong(t *testing.T) {
	for dir, ok := range map[string]bool{
		"/var/lib/skep-lab/lab": true, "/tmp/x": true, "/runner/x": true,
		"/": false, "/run/x": false, "/etc": false, "/opt/lab": false, "/proc/1": false, "/dev/shm/x": false,
		"/tmp/" + strings.Repeat("x", 84): true, "/tmp/" + strings.Repeat("x", 85): false,
	} {
		if _, err := checkDir(dir); (err == nil) != ok {
			t.Errorf("checkDir(%q) = %v, want ok %v", dir, err, ok)
		}
	}
}

func TestCheckDir_resolvesLinksOfWhatExists(t *testing.T) {
	root := t.TempDir()
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	got := realPath(filepath.Join(root, "link", "not", "there"))
	if want := filepath.Join(real, "not", "there"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseLabel(t *testing.T) {
	for text, want := range map[string]Label{
		"rack=a":       {Key: "rack", Value: "a"},
		"n1:rack=a":    {Machine: "n1", Key: "rack", Value: "a"},
		"n12:rack=a=b": {Machine: "n12", Key: "rack", Value: "a=b"},
		"x:rack=a":     {Key: "x:rack", Value: "a"},
		"rack=n1:a":    {Key: "rack", Value: "n1:a"},
		"rack=":        {Key: "rack"},
	} {
		if got, err := ParseLabel(text); err != nil || got != want {
			t.Errorf("ParseLabel(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "rack", "=a", "n1:rack", "n1:=a", "my rack=a", "lab.node=n7", "n1:lab.node=n7"} {
		if got, err := ParseLabel(text); err == nil {
			t.Errorf("ParseLabel(%q) = %+v, want an error", text, got)
		}
	}
}

func TestLabelsFor_takesThoseForAllAndForTheMachine(t *testing.T) {
	cfg := Config{Labels: []Label{{Key: "zone", Value: "z"}, {Machine: "n1", Key: "rack", Value: "a"}, {Machine: "n2", Key: "rack", Value: "b"}}}
	if got, want := cfg.labelsFor("n2"), []string{"lab.node=n2", "zone=z", "rack=b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestResolve(t *testing.T) {
	saved := t.TempDir()
	if err := (&state{Name: "other", Subnet: defaultSubnet}).save(filepath.Join(saved, stateFile)); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		cfg       Config
		env       string
		name, dir string
		fails     string
	}{
		"nothing said":                       {name: "lab", dir: "/var/lib/skep-lab/lab"},
		"a name has its own directory":       {cfg: Config{Name: "x"}, name: "x", dir: "/var/lib/skep-lab/x"},
		"a directory knows its lab":          {cfg: Config{Dir: saved}, name: "other", dir: saved},
		"so does the one of the environment": {env: saved, name: "other", dir: saved},
		"a new directory":                    {cfg: Config{Dir: "/tmp/none"}, env: saved, name: "lab", dir: "/tmp/none"},
		"a bad name":                         {cfg: Config{Name: "LAB"}, fails: "lower-case"},
		"a bad subnet":                       {cfg: Config{Subnet: netip.MustParsePrefix("10.0.0.0/8")}, fails: "/16 to /28"},
		"a test binary is no helper":         {cfg: Config{Exe: "-"}, fails: "Config.Exe"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SKEP_LAB_DIR", tt.env)
			switch tt.cfg.Exe {
			case "":
				tt.cfg.Exe = "/bin/skep"
			case "-":
				tt.cfg.Exe = ""
			}
			got, err := tt.cfg.resolve()
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Fatalf("got error %v, want one with %q", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Name != tt.name || got.Dir != realPath(tt.dir) {
				t.Errorf("got %s in %s, want %s in %s", got.Name, got.Dir, tt.name, tt.dir)
			}
		})
	}
}
