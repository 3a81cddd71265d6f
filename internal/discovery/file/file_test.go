package file_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// never is a heartbeat that no test lives to see: only notices can tell of
// changes.
const never = time.Hour

// watching starts a watch of path, which ends with the test.
func watching(t *testing.T, path string, heartbeat time.Duration, change ...func(*file.Backend)) <-chan discovery.Update {
	t.Helper()
	b, err := file.New(path, discovery.Options{Heartbeat: heartbeat})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(b)
	}
	ctx, cancel := context.WithCancel(context.Background())
	updates := b.Watch(ctx)
	t.Cleanup(func() {
		cancel()
		for range updates {
			// Until it is closed: then nothing of the watch runs any more.
		}
	})
	return updates
}

// next returns the next update and fails the test if there is none.
func next(t *testing.T, updates <-chan discovery.Update) discovery.Update {
	t.Helper()
	select {
	case u, open := <-updates:
		if !open {
			t.Fatal("the channel was closed")
		}
		return u
	case <-time.After(20 * time.Second):
		t.Fatal("no update")
	}
	panic("unreachable")
}

func wantEntries(t *testing.T, u discovery.Update, want ...discovery.Entry) {
	t.Helper()
	if diff := cmp.Diff(discovery.Update{Entries: want}, u); diff != "" {
		t.Error(diff)
	}
}

func wantError(t *testing.T, u discovery.Update, parts ...string) {
	t.Helper()
	if u.Err == nil {
		t.Fatalf("no error but %v", u.Entries)
	}
	if u.Entries != nil {
		t.Errorf("an error comes with %v", u.Entries)
	}
	for _, part := range parts {
		if !strings.Contains(u.Err.Error(), part) {
			t.Errorf("error %q lacks %q", u.Err, part)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace is how careful programs write: a new file, renamed over the old.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestWatch_readsTheSyntax(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engines")
	write(t, path, "# the first rack\r\n10.0.0.[1:2]:2375\r\n\n  [::1]:2375  # inline\n#off:2375\nunix:///run/docker.sock\n10.0.0.1:2375\nlast:2375")
	wantEntries(t, next(t, watching(t, path, never)),
		"10.0.0.1:2375", "10.0.0.2:2375", "[::1]:2375", "unix:///run/docker.sock", "last:2375")
}

func TestWatch_noticesEachWayToChangeAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engines")
	updates := watching(t, path, never)
	u := next(t, updates)
	wantError(t, u, "failed to read '"+path+"': no such file or directory")
	if !errors.Is(u.Err, fs.ErrNotExist) {
		t.Errorf("error %v does not tell that the file is missing", u.Err)
	}

	replace(t, path, "a:1\n")
	wantEntries(t, next(t, updates), "a:1")

	replace(t, path, "a:1\nb:1\n")
	wantEntries(t, next(t, updates), "a:1", "b:1")

	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("c:1\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, next(t, updates), "a:1", "b:1", "c:1")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wantError(t, next(t, updates), "no such file or directory")

	// The last list has stayed, so that this one is no news but the next is.
	replace(t, path, "# back\na:1\nb:1\nc:1\n")
	replace(t, path, "c:1\n")
	wantEntries(t, next(t, updates), "c:1")
}

func TestWatch_losesNoEngineToABadLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engines")
	write(t, path, "a:1\nb:1\n")
	updates := watching(t, path, never)
	wantEntries(t, next(t, updates), "a:1", "b:1")

	replace(t, path, "# a typo\na1\nb:1\nc:1\n")
	wantError(t, next(t, updates), "failed to read all of '"+path+"'", "line 2: address a1: missing port in address", "no engine is removed")
	wantEntries(t, next(t, updates), "b:1", "c:1", "a:1")

	replace(t, path, "a:1\nc:1\n")
	wantEntries(t, next(t, updates), "a:1", "c:1")
}

func TestWatch_startsWithTheGoodLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engines")
	write(t, path, "bad\na:1\n"+strings.Repeat("worse\n", 20))
	updates := watching(t, path, never)
	wantError(t, next(t, updates), "line 1: address bad", "line 11: address worse", "and 11 more lines")
	wantEntries(t, next(t, updates), "a:1")
}

func TestWatch_takesAnEmptiedFileForAMistake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engines")
	write(t, path, "")
	updates := watching(t, path, never)
	wantEntries(t, next(t, updates))

	replace(t, path, "a:1\n")
	wantEntries(t, next(t, updates), "a:1")

	replace(t, path, "\n")
	wantError(t, next(t, updates), "failed to read '"+path+"': the file became empty")

	replace(t, path, "# none today\n")
	wantEntries(t, next(t, updates))
}

func TestWatch_boundsWhatItReads(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	write(t, large, strings.Repeat("#"+strings.Repeat("x", 1022)+"\n", 1024)+"\n")
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, want string }{
		{"a file over 1 MiB", large, "larger than 1048576 bytes"},
		{"a pipe", pipe, "not a regular file"},
		{"a directory", dir, "not a regular file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantError(t, next(t, watching(t, tc.path, never)), "failed to read '"+tc.path+"': "+tc.want)
		})
	}

	many := filepath.Join(dir, "many")
	write(t, many, fmt.Sprintf("h[1:%d]:1\none:1\n", discovery.MaxEntries))
	updates := watching(t, many, never)
	wantError(t, next(t, updates), "line 2: address one:1: more than 10000 engines in one list")
	if u := next(t, updates); len(u.Entries) != discovery.MaxEntries {
		t.Errorf("%d entries", len(u.Entries))
	}
}

func TestWatch_heldEnginesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engines")
	updates := watching(t, path, never)
	wantError(t, next(t, updates), "no such file")
	replace(t, path, "old[1:9000]:1\n")
	if u := next(t, updates); len(u.Entries) != 9000 {
		t.Fatalf("%d entries, %v", len(u.Entries), u.Err)
	}
	replace(t, path, "new[1:9000]:1\nbad\n")
	wantError(t, next(t, updates), "line 2")
	u := next(t, updates)
	if len(u.Entries) != discovery.MaxEntries || u.Entries[0] != "new1:1" || u.Entries[9000] != "old1:1" {
		t.Errorf("%d entries, %v", len(u.Entries), u.Err)
	}
}

func TestWatch_closesItsChannelWhenDone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "engines")
	write(t, path, "a:1\n")
	b, err := file.New(path, discovery.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	updates := b.Watch(ctx)
	wantEntries(t, next(t, updates), "a:1")
	cancel()
	for u := range updates {
		t.Errorf("one more: %v", u)
	}
}

func TestNew_wantsAPath(t *testing.T) {
	if _, err := file.New("", discovery.Options{}); err == nil || !strings.Contains(err.Error(), "file:///etc/skep/engines") {
		t.Errorf("error %v", err)
	}
}

func TestRegister_isNotImplemented(t *testing.T) {
	b, err := file.New("engines", discovery.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Register(t.Context(), "a:1"); !errors.Is(err, discovery.ErrNotImplemented) {
		t.Errorf("error %v", err)
	}
}
