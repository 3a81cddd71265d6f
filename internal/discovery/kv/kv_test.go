package kv_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/kv"
	"github.com/skep/skep/internal/kvstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a store that says what the test has it say.
type fake struct {
	kvstore.Store // what is not used is nil

	snapshots chan kvstore.Snapshot
	watched   chan string // the prefixes

	mu     sync.Mutex // guards what follows
	fails  error      // what Announce and Withdraw return
	ttl    time.Duration
	keys   map[string]string
	opened int
	closed int
}

func newFake() *fake {
	return &fake{snapshots: make(chan kvstore.Snapshot), watched: make(chan string, 10), keys: make(map[string]string)}
}

func (f *fake) open() (kvstore.Store, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	return f, nil
}

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return nil
}

func (f *fake) Watch(ctx context.Context, prefix string, _ time.Duration) <-chan kvstore.Snapshot {
	f.watched <- prefix
	out := make(chan kvstore.Snapshot)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-f.snapshots:
				select {
				case out <- s:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

func (f *fake) Announce(_ context.Context, p kvstore.Pair, ttl time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails == nil {
		f.keys[p.Key], f.ttl = p.Value, ttl
	}
	return f.fails
}

func (f *fake) Withdraw(_ context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails == nil {
		delete(f.keys, key)
	}
	return f.fails
}

func (f *fake) setFails(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails = err
}

func (f *fake) want(t *testing.T, keys map[string]string, open int) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff(keys, f.keys); diff != "" {
		t.Error(diff)
	}
	if f.opened-f.closed != open {
		t.Errorf("%d stores are open, want %d", f.opened-f.closed, open)
	}
}

func backend(t *testing.T, f *fake, prefix string, opts discovery.Options) *kv.Backend {
	t.Helper()
	b, err := kv.New(f.open, prefix, opts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// watching starts a watch that ends with the test.
func watching(t *testing.T, b *kv.Backend) <-chan discovery.Update {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	updates := b.Watch(ctx)
	t.Cleanup(func() {
		cancel()
		for range updates {
			// Until it is closed.
		}
	})
	return updates
}

func listed(addresses ...string) kvstore.Snapshot {
	var s kvstore.Snapshot
	for _, a := range addresses {
		s.Pairs = append(s.Pairs, kvstore.Pair{Key: "docker/swarm/nodes/" + a, Value: a})
	}
	return s
}

func wantEntries(t *testing.T, updates <-chan discovery.Update, want ...discovery.Entry) {
	t.Helper()
	u := <-updates
	if u.Err != nil {
		t.Fatal(u.Err)
	}
	if len(want) == 0 && len(u.Entries) == 0 {
		return
	}
	if diff := cmp.Diff(discovery.Entries(want), u.Entries); diff != "" {
		t.Error(diff)
	}
}

func wantError(t *testing.T, updates <-chan discovery.Update, part string) {
	t.Helper()
	if u := <-updates; u.Err == nil || !strings.Contains(u.Err.Error(), part) {
		t.Fatalf("got %v, want an error with %q", u, part)
	}
}

func TestWatch_listsWhatIsInTheStore(t *testing.T) {
	f := newFake()
	updates := watching(t, backend(t, f, "", discovery.Options{}))
	f.snapshots <- listed()
	wantEntries(t, updates)
	f.snapshots <- listed("a:1", "b:1")
	wantEntries(t, updates, "a:1", "b:1")
	f.snapshots <- listed("a:1", "b:1") // no news
	f.snapshots <- listed("b:1")
	wantEntries(t, updates, "b:1")
}

func TestWatch_looksWhereTheKeysAre(t *testing.T) {
	for _, tc := range []struct{ name, prefix, path, want string }{
		{"by default", "", "", "docker/swarm/nodes"},
		{"below a prefix", "some/where", "", "some/where/docker/swarm/nodes"},
		{"with a path", "", "my/nodes", "my/nodes"},
		{"with slashes around it", "x", "/my/nodes/", "x/my/nodes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake()
			opts := discovery.Options{}
			if tc.path != "" {
				opts.Opts = map[string]string{kv.OptPath: tc.path}
			}
			watching(t, backend(t, f, tc.prefix, opts))
			if got := <-f.watched; got != tc.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestWatch_reportsWhatIsNoAddressAndListsTheRest(t *testing.T) {
	f := newFake()
	updates := watching(t, backend(t, f, "", discovery.Options{}))
	f.snapshots <- listed("a:1", "nonsense", "b:1")
	wantError(t, updates, "left out: docker/swarm/nodes/nonsense: address nonsense: missing port in address")
	wantEntries(t, updates, "a:1", "b:1")
	f.snapshots <- listed("a:1", "nonsense") // known already
	wantEntries(t, updates, "a:1")
	f.snapshots <- listed("a:1", "nonsense", "x")
	wantError(t, updates, "2 entries of the store")
	f.snapshots <- listed("b:1")
	wantEntries(t, updates, "b:1")
}

// Whoever may write one key must not name engines by the thousand, nor have the
// manager use a socket of its own machine.
func TestWatch_takesOneAddressFromEachKey(t *testing.T) {
	for _, value := range []string{"10.0.0.[1:20]:2375", "unix:///run/docker.sock", "b:1,c:1"} {
		f := newFake()
		updates := watching(t, backend(t, f, "", discovery.Options{}))
		f.snapshots <- listed("a:1", value)
		wantError(t, updates, "left out: docker/swarm/nodes/"+value)
		wantEntries(t, updates, "a:1")
	}
}

func TestWatch_passesErrorsOnAndKeepsTheList(t *testing.T) {
	f := newFake()
	updates := watching(t, backend(t, f, "", discovery.Options{}))
	f.snapshots <- listed("a:1")
	wantEntries(t, updates, "a:1")
	f.snapshots <- kvstore.Snapshot{Err: errors.New("etcd at x does not answer")}
	wantError(t, updates, "etcd at x does not answer")
	f.snapshots <- listed("b:1") // a is given time to be announced again
	wantEntries(t, updates, "b:1", "a:1")
}

func TestWatch_closesItsStore(t *testing.T) {
	f := newFake()
	ctx, cancel := context.WithCancel(t.Context())
	updates := backend(t, f, "", discovery.Options{}).Watch(ctx)
	<-f.watched
	cancel()
	for range updates {
		// Until it is closed.
	}
	f.want(t, map[string]string{}, 0)
}

func TestRegister_announcesForTheTTLUntilDeregister(t *testing.T) {
	f := newFake()
	b := backend(t, f, "p", discovery.Options{TTL: 42 * time.Second})
	for range 2 {
		if err := b.Register(t.Context(), "10.0.0.1:2375"); err != nil {
			t.Fatal(err)
		}
	}
	f.want(t, map[string]string{"p/docker/swarm/nodes/10.0.0.1:2375": "10.0.0.1:2375"}, 1)
	if f.ttl != 42*time.Second {
		t.Errorf("for %v", f.ttl)
	}
	if err := b.Deregister(t.Context(), "10.0.0.1:2375"); err != nil {
		t.Fatal(err)
	}
	f.want(t, map[string]string{}, 0)
	if err := b.Deregister(t.Context(), "10.0.0.1:2375"); err != nil {
		t.Error("again:", err)
	}
}

func TestDeregister_canBeTriedAgain(t *testing.T) {
	f := newFake()
	b := backend(t, f, "", discovery.Options{})
	if err := b.Register(t.Context(), "a:1"); err != nil {
		t.Fatal(err)
	}
	f.setFails(errors.New("down"))
	if err := b.Register(t.Context(), "a:1"); err == nil {
		t.Error("no error")
	}
	if err := b.Deregister(t.Context(), "a:1"); err == nil {
		t.Error("no error")
	}
	f.setFails(nil)
	if err := b.Deregister(t.Context(), "a:1"); err != nil {
		t.Error(err)
	}
	f.want(t, map[string]string{}, 0)
}

func TestClose_endsTheConnectionOfAnnouncements(t *testing.T) {
	f := newFake()
	b := backend(t, f, "", discovery.Options{})
	if err := b.Register(t.Context(), "a:1"); err != nil {
		t.Fatal(err)
	}
	f.setFails(errors.New("down"))
	if err := b.Deregister(t.Context(), "a:1"); err == nil {
		t.Error("no error")
	}
	for range 2 { // a second time does nothing
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	f.want(t, map[string]string{"docker/swarm/nodes/a:1": "a:1"}, 0)
	if err := b.Register(t.Context(), "a:1"); err == nil || !strings.Contains(err.Error(), "was closed") {
		t.Errorf("after the end: %v", err)
	}
	if err := b.Deregister(t.Context(), "a:1"); err != nil {
		t.Errorf("after the end: %v", err)
	}
	f.want(t, map[string]string{"docker/swarm/nodes/a:1": "a:1"}, 0)
}

func TestClose_waitsForTheCallsThatUseTheConnection(t *testing.T) {
	f := newFake()
	began, goOn := make(chan struct{}), make(chan struct{})
	b, err := kv.New(func() (kvstore.Store, error) {
		store, err := f.open()
		return waiting{store, began, goOn}, err
	}, "", discovery.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- b.Register(t.Context(), "a:1") }()
	<-began
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	f.want(t, map[string]string{}, 1)
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	f.want(t, map[string]string{"docker/swarm/nodes/a:1": "a:1"}, 0)
}

// waiting is a store whose announcements wait to go on.
type waiting struct {
	kvstore.Store
	began, goOn chan struct{}
}

func (w waiting) Announce(ctx context.Context, p kvstore.Pair, ttl time.Duration) error {
	close(w.began)
	<-w.goOn
	return w.Store.Announce(ctx, p, ttl)
}

func TestRegister_refuses(t *testing.T) {
	f := newFake()
	b := backend(t, f, "", discovery.Options{})
	for _, addr := range []string{"", "a", "a:1,b:1", "a:[1:2]", "unix:///run/docker.sock", "tcp://a:1", "a/../b:1"} {
		if err := b.Register(t.Context(), addr); err == nil {
			t.Errorf("%q is announced", addr)
		}
	}
	f.want(t, map[string]string{}, 0)
}

func TestNew_refusesPathsThatAreNone(t *testing.T) {
	for _, path := range []string{"", "/", "a//b", "../a", "a/./b"} {
		if _, err := kv.New(newFake().open, "", discovery.Options{Opts: map[string]string{kv.OptPath: path}}); err == nil {
			t.Errorf("%q is a path", path)
		}
	}
}
