package cli

import (
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/skep/skep/internal/lab"
)

func TestPrintExport_isReadBackByAShell(t *testing.T) {
	for _, value := range []string{"", "plain/1.2:3,4", "nodes://10.99.0.[11:13]:2375", "it's $HOME `x` \\ \"y\"\n*"} {
		var out strings.Builder
		printExport(&out, "VALUE", value)
		got, err := exec.Command("sh", "-c", out.String()+`printf %s "$VALUE"`).Output()
		if err != nil || string(got) != value {
			t.Errorf("%q is read back as %q (%v) from %s", value, got, err, out.String())
		}
	}
}

func TestPrintMachines(t *testing.T) {
	machine := func(name string, state lab.State, cut bool, pid int) lab.Status {
		m := lab.Machine{Name: name, Addr: netip.MustParseAddr("10.99.0.11"), Socket: "/l/" + name + "/docker.sock"}
		return lab.Status{Machine: m, State: state, Cut: cut, PID: pid, Memory: 100 << 20}
	}
	var out strings.Builder
	err := printMachines(&out, []lab.Status{
		machine("n1", lab.StateRunning, false, 7),
		machine("n2", lab.StateCut, true, 8),
		machine("n3", lab.StatePaused, true, 9),
		machine("n10", lab.StateOff, false, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `
MACHINE   ADDRESS      STATE        DOCKERD   MEMORY   SOCKET
n1        10.99.0.11   running      7         100MiB   /l/n1/docker.sock
n2        10.99.0.11   cut          8         100MiB   /l/n2/docker.sock
n3        10.99.0.11   paused+cut   9         100MiB   /l/n3/docker.sock
n10       10.99.0.11   off          -         -        /l/n10/docker.sock
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("got%s\nwant%s", got, want)
	}
}

func TestLabCheck_saysWhyEnginesCannotRun(t *testing.T) {
	t.Setenv("DOCKERD", "/nowhere/dockerd")
	cmd := newLabCheckCommand()
	cmd.SetArgs([]string{})
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	err := cmd.Execute()
	if err == nil || !strings.Contains(err.Error(), "root") && !strings.Contains(err.Error(), "/nowhere/dockerd") && !strings.Contains(err.Error(), "Linux") {
		t.Errorf("it says %v", err)
	}
}
