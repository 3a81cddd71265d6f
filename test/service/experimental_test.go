//go:build linux

package service_test

import (
	"os"
	"path/filepath"
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
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(shortDir(t), "s")
			line := append([]string{os.Getenv(skepBin)}, tc.args...)
			start(t, append(line, "--state-dir", t.TempDir(), "-H", "unix://"+socket, "nodes://127.0.0.1:1")...).tells("READY=1")
			if got := get(t, "unix", socket, "/info"); !strings.Contains(got, `"ExperimentalBuild":`+tc.want) {
				t.Errorf("info: %s", got)
			}
			if got := get(t, "unix", socket, "/version"); !strings.Contains(got, `"Experimental":`+tc.want) {
				t.Errorf("version: %s", got)
			}
		})
	}
}
