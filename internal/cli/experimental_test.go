package cli

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// The flag goes before the command as in standalone Swarm, or behind it.
func TestExperimental_isSaidByManage(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"not without the flag": {[]string{"manage"}, "false"},
		"before the command":   {[]string{"-experimental", "manage"}, "true"},
		"behind the command":   {[]string{"manage", "--experimental"}, "true"},
		"in the file":          {[]string{"manage", "--config", experimentalFile(t)}, "true"},
	} {
		t.Run(name, func(t *testing.T) {
			f, addr := socket(t)
			startService(t, []*os.File{f}, append(tc.args, "--state-dir", t.TempDir(), "-H", "fd://", "nodes://127.0.0.1:1")...).tells("READY=1")
			if got := get(t, "tcp", addr, "/info"); !strings.Contains(got, `"ExperimentalBuild":`+tc.want) {
				t.Errorf("info: %s", got)
			}
			if got := get(t, "tcp", addr, "/version"); !strings.Contains(got, `"Experimental":`+tc.want) || !strings.Contains(got, `"Experimental":"`+tc.want+`"`) {
				t.Errorf("version: %s", got)
			}
			resp, err := http.Head("http://" + addr + "/_ping")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("Docker-Experimental"); got != tc.want {
				t.Errorf("header %q", got)
			}
		})
	}
}

func experimentalFile(t *testing.T) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"experimental": true}`); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
