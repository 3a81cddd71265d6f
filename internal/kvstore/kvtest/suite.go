// Package kvtest says as tests what kvstore.Store promises. Each store runs the
// same suite, against a real server wherever one can be had.
package kvtest

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/kvstore"
)

// Suite is a server and what can be done to it.
type Suite struct {
	// Open opens a store on the server. The tests close it.
	Open func(t *testing.T) kvstore.Store

	// OpenCut opens a store and gives a function that cuts it off: from then on
	// the server gets nothing from it, nor it from the server, and no connection
	// is closed. Without it the tests of that are skipped, as below.
	OpenCut func(t *testing.T) (store kvstore.Store, cut func())

	// Pause makes the server hang until Resume.
	Pause, Resume func(t *testing.T)

	// Restart stops the server and starts it again with its data.
	Restart func(t *testing.T)

	// Wipe stops the server and starts it again without its data.
	Wipe func(t *testing.T)

	// Around runs each test, as in a bubble of testing/synctest with a server of
	// its own; nil runs it as it is.
	Around func(t *testing.T, test func(t *testing.T))

	// Busy says that other tests run at the same time, so that what is left behind
	// cannot be told from what is theirs: their TestMain has to look for it.
	Busy bool

	// TTL is what the tests announce and lock with. The server has to allow it.
	TTL time.Duration

	// Slack is how much later than TTL the server may end what is not renewed.
	Slack time.Duration
}

// Run runs all tests that can be run.
func (s Suite) Run(t *testing.T) {
	t.Helper()
	for _, tc := range []struct {
		name string
		run  func(Suite, *testing.T)
		can  bool
	}{
		{"an empty prefix has an empty list", Suite.listsNothing, true},
		{"what is announced is listed by key", Suite.listsAnnounced, true},
		{"a prefix is a path, not the beginning of a name", Suite.listsBelowPathOnly, true},
		{"a key is read", Suite.reads, true},
		{"an announcement that is repeated stays", Suite.repeats, true},
		{"an announcement takes a new value", Suite.replaces, true},
		{"an announcement ends after its owner", Suite.expires, true},
		{"an announcement outlives the one that it replaces", Suite.succeeds, true},
		{"what is withdrawn is gone at once", Suite.withdraws, true},
		{"withdrawing what was never announced is no error", Suite.withdrawsNothing, true},
		{"a watch tells what is there and each change", Suite.watches, true},
		{"a slow reader of a watch gets the latest", Suite.watchesSlowly, true},
		{"a watch ends with its context", Suite.watchEnds, true},
		{"one holds a lock, and others wait", Suite.locksOut, true},
		{"a lock that is released is the next one's at once", Suite.releases, true},
		{"a lock that is renewed outlives its ttl", Suite.renews, true},
		{"waiting for a lock ends with its context", Suite.lockGivesUp, true},
		{"a lock of a closed store is free after its ttl", Suite.lockEndsWithStore, true},
		{"closing a store leaves nothing behind", Suite.closes, true},
		{"a holder that is cut off knows that before another holds", Suite.cutOff, s.OpenCut != nil},
		{"a hung server makes calls fail in time", Suite.hangs, s.Pause != nil},
		{"a hung server costs the holder its lock before another has it", Suite.lostWhileHung, s.Pause != nil},
		{"a watch tells of a hung server and goes on after it", Suite.watchesHung, s.Pause != nil},
		{"a watch goes on after a restart of the server", Suite.watchesRestart, s.Restart != nil},
		{"an announcement that is repeated survives a restart", Suite.announcesRestart, s.Restart != nil},
		{"what is repeated and what is watched survive the loss of all data", Suite.wiped, s.Wipe != nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !tc.can {
				t.Skip("this server cannot be made to fail so")
			}
			if !s.Busy {
				leaks := goleak.IgnoreCurrent()
				t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
			}
			if s.Around == nil {
				tc.run(s, t)
				return
			}
			s.Around(t, func(t *testing.T) { tc.run(s, t) })
		})
	}
}

// open opens a store that is closed before the test looks for leaks.
func (s Suite) open(t *testing.T) kvstore.Store {
	t.Helper()
	store := s.Open(t)
	closeAfter(t, store)
	return store
}

func closeAfter(t *testing.T, store kvstore.Store) {
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error("close:", err)
		}
	})
}

// prefix is a path that is the test's alone.
func prefix(t *testing.T) string {
	b := []byte("kvtest/" + t.Name())
	for i, c := range b {
		switch {
		case c == '/' && i < len("kvtest/"), c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		default:
			b[i] = '-'
		}
	}
	return string(b)
}

// patience is how long a test waits for what should come soon.
const patience = 30 * time.Second

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
