// The race detector of Go 1.26 crashes on timers inside a synctest bubble
// (fixed in Go 1.27), so these tests stay out of the race run.
//go:build !race

package file_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/file"
)

// nothingWithin fails the test if an update comes within d of the bubble's
// time.
func nothingWithin(t *testing.T, updates <-chan discovery.Update, d time.Duration) {
	t.Helper()
	select {
	case u := <-updates:
		t.Errorf("after all: %v", u)
	case <-time.After(d):
	}
}

func TestWatch_withoutNoticesReadsAtEachHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "engines")
		write(t, path, "a:1\n")
		updates := watching(t, path, time.Minute, (*file.Backend).Deafen)
		wantEntries(t, next(t, updates), "a:1")

		replace(t, path, "b:1\n")
		nothingWithin(t, updates, 59*time.Second)
		wantEntries(t, next(t, updates), "b:1")

		// An unchanged list is no news, be the file new or not.
		replace(t, path, "# touched\nb:1\n")
		nothingWithin(t, updates, 10*time.Minute)

		// The order is part of the list.
		replace(t, path, "b:1\nc:1\n")
		wantEntries(t, wait(t, updates), "b:1", "c:1")
		replace(t, path, "c:1\nb:1\n")
		wantEntries(t, wait(t, updates), "c:1", "b:1")
	})
}

func TestWatch_reportsAnErrorAtEachHeartbeatAndKeepsTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "engines")
		write(t, path, "a:1\n")
		updates := watching(t, path, time.Minute, (*file.Backend).Deafen)
		wantEntries(t, next(t, updates), "a:1")

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 3 {
			wantError(t, wait(t, updates), "no such file or directory")
		}
		if took := time.Since(start); took != 3*time.Minute {
			t.Errorf("three errors took %s", took)
		}
		replace(t, path, "a:1\n")
		nothingWithin(t, updates, 10*time.Minute)
	})
}

func TestWatch_findsASwappedLinkAtTheHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "one"), "a:1\n")
		write(t, filepath.Join(dir, "two"), "b:1\n")
		// As Kubernetes mounts a configmap: engines → ..data → a directory.
		path, data := filepath.Join(dir, "engines"), filepath.Join(dir, "..data")
		link(t, "one", data)
		link(t, "..data", path)
		updates := watching(t, path, time.Minute, (*file.Backend).Deafen)
		wantEntries(t, next(t, updates), "a:1")

		link(t, "two", data+".new")
		if err := os.Rename(data+".new", data); err != nil {
			t.Fatal(err)
		}
		wantEntries(t, wait(t, updates), "b:1")
	})
}

func TestWatch_readsOnceForABurstOfNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "engines")
		events := make(chan fsnotify.Event)
		updates := watching(t, path, time.Hour, func(b *file.Backend) { b.Notice(events) })
		// Each reading of a missing file makes an error: so they can be counted.
		wantError(t, next(t, updates), "no such file")

		start := time.Now()
		for range 20 {
			events <- fsnotify.Event{Name: path, Op: fsnotify.Write}
			time.Sleep(time.Millisecond) // of the bubble's time
		}
		wantError(t, wait(t, updates), "no such file")
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("read after %s", took)
		}
		nothingWithin(t, updates, time.Minute)

		events <- fsnotify.Event{Name: path + ".new", Op: fsnotify.Create}
		nothingWithin(t, updates, time.Minute)
	})
}

func TestWatch_showsASlowReaderTheLatestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "engines")
		write(t, path, "a:1\n")
		updates := watching(t, path, time.Minute, (*file.Backend).Deafen)
		synctest.Wait() // a:1 is on offer
		replace(t, path, "b:1\n")
		time.Sleep(5 * time.Minute) // of the bubble's time
		replace(t, path, "c:1\n")
		wantEntries(t, wait(t, updates), "a:1")
		wantEntries(t, wait(t, updates), "c:1")
	})
}

// wait is next for an update that a heartbeat brings.
func wait(t *testing.T, updates <-chan discovery.Update) discovery.Update {
	t.Helper()
	return <-updates
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}
