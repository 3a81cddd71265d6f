//go:build linux

package service_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The unit's command line and the file beside it go together: what one says the
// other may not.
func TestPackaging_theUnitRunsWithItsFile(t *testing.T) {
	packaged := func(parts ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "packaging"}, parts...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	dir := shortDir(t)
	file := filepath.Join(dir, "manage.json")
	engines := filepath.Join(dir, "engines")
	config := strings.NewReplacer("/etc/skep/engines", engines, "/var/lib/skep", filepath.Join(dir, "state")).Replace(packaged("config", "manage.json"))
	for path, text := range map[string]string{file: config, engines: engine(t, nil) + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, command, ok := strings.Cut(packaged("systemd", "skep.service"), "\nExecStart=")
	command, _, _ = strings.Cut(command, "\n")
	if !ok || !strings.Contains(command, " /etc/skep/manage.json") {
		t.Fatalf("the unit runs %q", command)
	}
	command = strings.NewReplacer("/usr/bin/skep", os.Getenv(skepBin), "/etc/skep/manage.json", file).Replace(command)
	f, addr := socket(t)
	p := program{
		args:  append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, strings.Fields(command)...),
		env:   []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=skep.socket"},
		files: []*os.File{f},
	}.start(t)
	p.tells("READY=1")
	dockerCLI(t, "tcp://"+addr).awaitEngine()
	p.stop()
}
