package hub_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is a moment in which nothing else happens.
var start = time.UnixMilli(1_800_000_000_000)

func openStore(t *testing.T, limits hub.Limits) hub.Store {
	t.Helper()
	s, err := hub.OpenStore(filepath.Join(t.TempDir(), "hub.db"), limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func create(t *testing.T, s hub.Store) string {
	t.Helper()
	token, err := s.Create(start)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func announce(t *testing.T, s hub.Store, token, addr string, now time.Time, ttl time.Duration) {
	t.Helper()
	if err := s.Announce(token, addr, now, ttl); err != nil {
		t.Fatal(err)
	}
}

func wantList(t *testing.T, s hub.Store, token string, now time.Time, want ...string) {
	t.Helper()
	got, err := s.List(token, now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Error(diff)
	}
}

func wantCounts(t *testing.T, s hub.Store, tokens, addresses uint64) {
	t.Helper()
	if a, b := s.Counts(); a != tokens || b != addresses {
		t.Errorf("counts %d tokens and %d addresses, want %d and %d", a, b, tokens, addresses)
	}
}

func TestStore_listsAnAddressUntilItsTimeIsOver(t *testing.T) {
	s := openStore(t, hub.Limits{})
	token := create(t, s)
	wantList(t, s, token, start)
	announce(t, s, token, "b:1", start, 3*time.Second)
	announce(t, s, token, "a:1", start, 10*time.Second)
	wantList(t, s, token, start.Add(2999*time.Millisecond), "a:1", "b:1")
	wantList(t, s, token, start.Add(3*time.Second), "a:1")
	announce(t, s, token, "b:1", start.Add(4*time.Second), 3*time.Second)
	wantList(t, s, token, start.Add(5*time.Second), "a:1", "b:1")
	wantCounts(t, s, 1, 2)
}

func TestStore_keepsClustersApart(t *testing.T) {
	s := openStore(t, hub.Limits{})
	one, two := create(t, s), create(t, s)
	if one == two || len(one) != 32 {
		t.Fatalf("tokens %q and %q", one, two)
	}
	announce(t, s, one, "a:1", start, time.Minute)
	announce(t, s, two, "b:1", start, time.Minute)
	wantList(t, s, one, start, "a:1")
	if err := s.Remove(one); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(one, start); err == nil || !strings.Contains(err.Error(), "make one with skep create") {
		t.Errorf("a removed token: %v", err)
	}
	wantList(t, s, two, start, "b:1")
	wantCounts(t, s, 1, 1)
}

func TestStore_takesAnAddressBackOnce(t *testing.T) {
	s := openStore(t, hub.Limits{})
	token := create(t, s)
	announce(t, s, token, "a:1", start, time.Minute)
	announce(t, s, token, "a:12", start, time.Minute)
	for range 2 {
		if err := s.Withdraw(token, "a:1", start); err != nil {
			t.Fatal(err)
		}
	}
	wantList(t, s, token, start, "a:12")
	wantCounts(t, s, 1, 1)
}

func TestStore_isBounded(t *testing.T) {
	s := openStore(t, hub.Limits{Clusters: 2, PerCluster: 2, Addresses: 3})
	one, two := create(t, s), create(t, s)
	if _, err := s.Create(start); err == nil || !strings.Contains(err.Error(), "it holds 2 tokens") {
		t.Errorf("a third token: %v", err)
	}
	announce(t, s, one, "a:1", start, time.Minute)
	announce(t, s, one, "b:1", start, time.Second)
	if err := s.Announce(one, "c:1", start, time.Minute); err == nil || !strings.Contains(err.Error(), "the token has 2 addresses already") || !strings.Contains(err.Error(), "--max-addresses") {
		t.Errorf("a third address of a token: %v", err)
	}
	announce(t, s, one, "a:1", start, time.Minute) // again is no more
	announce(t, s, two, "d:1", start, time.Minute)
	if err := s.Announce(two, "e:1", start, time.Minute); err == nil || !strings.Contains(err.Error(), "it holds 3 addresses") || !strings.Contains(err.Error(), "--max-total") {
		t.Errorf("a fourth address: %v", err)
	}
	// What has ended makes room, swept or not.
	announce(t, s, one, "c:1", start.Add(2*time.Second), time.Minute)
	wantList(t, s, one, start.Add(2*time.Second), "a:1", "c:1")
	wantCounts(t, s, 2, 3)
}

func TestStore_sweepsWhatNobodyUses(t *testing.T) {
	const unused = time.Hour
	s := openStore(t, hub.Limits{Unused: unused})
	idle, read, alive := create(t, s), create(t, s), create(t, s)
	announce(t, s, idle, "a:1", start, time.Second)
	announce(t, s, alive, "b:1", start, 10*unused)
	later := start.Add(unused + time.Second)
	wantList(t, s, read, later.Add(-time.Minute))
	if err := s.Sweep(later); err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(idle, later); err == nil {
		t.Error("a token that nobody used is still there")
	}
	wantList(t, s, read, later)
	wantList(t, s, alive, later, "b:1")
	wantCounts(t, s, 2, 1)
}

func TestStore_givesAddressesTheirTimeAgainAfterAnAbsence(t *testing.T) {
	s := openStore(t, hub.Limits{})
	token := create(t, s)
	announce(t, s, token, "a:1", start, 3*time.Minute)
	announce(t, s, token, "b:1", start, 5*time.Hour)
	back := start.Add(time.Hour)
	wantList(t, s, token, back, "b:1")
	if err := s.Revive(back); err != nil {
		t.Fatal(err)
	}
	wantList(t, s, token, back.Add(3*time.Minute-time.Millisecond), "a:1", "b:1")
	wantList(t, s, token, back.Add(3*time.Minute), "b:1")
	wantList(t, s, token, start.Add(6*time.Hour-time.Millisecond), "b:1")
	wantCounts(t, s, 1, 2)
}

func TestStore_sweepsManyTokens(t *testing.T) {
	s := openStore(t, hub.Limits{Unused: time.Hour})
	var wg sync.WaitGroup
	for range 600 {
		wg.Go(func() {
			if token, err := s.Create(start); err != nil || s.Announce(token, "a:1", start, time.Second) != nil {
				t.Error("cannot fill the store", err)
			}
		})
	}
	wg.Wait()
	wantCounts(t, s, 600, 600)
	if err := s.Sweep(start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, s, 600, 0)
	if err := s.Sweep(start.Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, s, 0, 0)
}

func TestOpen_findsEverythingAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "below", "hub.db")
	s, err := hub.OpenStore(path, hub.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	token := create(t, s)
	announce(t, s, token, "a:1", start, time.Minute)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if s, err = hub.OpenStore(path, hub.Limits{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantList(t, s, token, start, "a:1")
}

func TestOpen_saysWhatIsWrongWithTheFile(t *testing.T) {
	dir := t.TempDir()
	fill := func(name string) string {
		path := filepath.Join(dir, name)
		s, err := hub.OpenStore(path, hub.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		token := create(t, s)
		for i := range 300 {
			announceNoSync(t, s, token, i)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	edit := func(name string, change func([]byte) []byte) string {
		path := fill(name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database\n", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("tasks"))
		return err
	}), db.Close()); err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for _, tc := range []struct{ name, path, want string }{
		{"text", text, "cannot be used as the hub's file"},
		{"a database of another program", other, "it holds no tables of a hub"},
		{"a file cut in half", edit("half", func(b []byte) []byte { return b[:len(b)/2] }), "cannot be used as the hub's file"},
		{"a file cut behind its first pages", edit("head", func(b []byte) []byte { return b[:2*page] }), "cannot be used as the hub's file"},
		{"a file with all pages but the first zero", edit("zero", func(b []byte) []byte {
			clear(b[2*page:])
			return b
		}), "cannot be used as the hub's file"},
		{"a file with rubbish behind the first pages", edit("rubbish", func(b []byte) []byte {
			for i := 2 * page; i < len(b); i++ {
				b[i] = byte(i*7 + 13)
			}
			return b
		}), "cannot be used as the hub's file"},
		{"a directory", dir, "is a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := hub.OpenStore(tc.path, hub.Limits{})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), tc.path) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// announceNoSync fills pages.
func announceNoSync(t *testing.T, s hub.Store, token string, i int) {
	t.Helper()
	if i%20 != 0 {
		return
	}
	var wg sync.WaitGroup
	for k := range 20 {
		wg.Go(func() {
			if err := s.Announce(token, fmt.Sprintf("%s-%d:1", strings.Repeat("h", 200), i+k), start, time.Hour); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestOpen_leavesAFileAloneThatIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.db")
	s, err := hub.OpenStore(path, hub.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := hub.OpenStore(path, hub.Limits{}); err == nil || !strings.Contains(err.Error(), "another skep hub runs with it") {
		t.Errorf("error %v", err)
	}
}

func TestStore_countsRightUnderParallelWriters(t *testing.T) {
	s := openStore(t, hub.Limits{PerCluster: 50})
	token := create(t, s)
	var wg sync.WaitGroup
	for i := range 120 {
		wg.Go(func() {
			_ = s.Announce(token, fmt.Sprintf("h%d:1", i%80), start, time.Minute)
			if i%4 == 0 {
				_ = s.Withdraw(token, fmt.Sprintf("h%d:1", i%80), start)
			}
		})
	}
	wg.Wait()
	list, err := s.List(token, start)
	if err != nil || len(list) > 50 {
		t.Fatalf("%d addresses, %v", len(list), err)
	}
	wantCounts(t, s, 1, uint64(len(list)))
}
