package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shortDir is short enough for the paths of sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "engines")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestServe_endsWithSkepAndLeavesNoSocket(t *testing.T) {
	dir := shortDir(t)
	for skep, want := range map[string]string{
		"/bin/false":       "skep manage: exit status 1; its last words stand above",
		"/bin/true":        "skep ended by itself",
		dir + "/not/there": "no such file",
	} {
		if err := serve(t.Context(), dir, 3, skep); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", skep, err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSocket != 0 {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestServe_refusesADirectoryThatIsServed(t *testing.T) {
	dir := shortDir(t)
	desk, err := openDesk(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer desk.close()
	if err := serve(t.Context(), dir, 1, "/bin/true"); !errors.Is(err, errServed) {
		t.Error(err)
	}
}

func TestRun_saysWhatItCannotDo(t *testing.T) {
	dir := shortDir(t)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{nil, "usage: engines"},
		{[]string{"serve", dir, "many", "skep"}, `"many" is no number of engines`},
		{[]string{"serve", dir, "0", "skep"}, "ask for 1 to"},
		{[]string{"crash", dir, "sim-0"}, "no simulated engines answer in " + dir},
		{[]string{"serve", dir + "/not/there", "1", "skep"}, "no such file"},
	} {
		if err := run(context.Background(), tc.args); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v", tc.args, err)
		}
	}
	if err := run(context.Background(), []string{"stop", dir}); err != nil {
		t.Errorf("stop where nobody serves: %v", err)
	}
}
