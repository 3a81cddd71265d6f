package zk_test

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/zk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore_saysWhoDoesNotAnswer(t *testing.T) {
	address := nobody(t)
	s, err := zk.New([]string{address}, zk.Options{Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.List(t.Context(), "nodes")
	if err == nil || !strings.HasPrefix(err.Error(), "zookeeper at "+address+" does not answer (list nodes)") {
		t.Errorf("error %v", err)
	}
	if err := s.Announce(t.Context(), kvstore.Pair{Key: "nodes/a:1", Value: "a:1"}, time.Minute); err == nil {
		t.Error("no error")
	}
	if _, err := s.Lock(t.Context(), kvstore.Pair{Key: "leader", Value: "a"}, time.Minute); err == nil {
		t.Error("no error")
	}
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestWaiting_isTheQueueInOrder(t *testing.T) {
	got := zk.Waiting([]string{"lock-0000000010", "other", "lock-0000000009", "lock-0000000011"})
	if want := []string{"lock-0000000009", "lock-0000000010", "lock-0000000011"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzReadGreeting(f *testing.F) {
	f.Add([]byte{0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 0x0f, 0xa0, 1})
	f.Add([]byte{0, 0, 0, 37, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := zk.ReadGreeting(b)
		if got < 0 || len(b) < 12 && got != 0 {
			t.Errorf("got %d from %d bytes", got, len(b))
		}
	})
}

// A path may hold anything that another program has put there.
func FuzzWaiting(f *testing.F) {
	f.Add("lock-0000000010 other lock-0000000009")
	f.Add("lock- lock-x  ")
	f.Fuzz(func(t *testing.T, text string) {
		names := strings.Split(text, " ")
		before := slices.Clone(names)
		queue := zk.Waiting(names)
		if !slices.Equal(names, before) || !slices.IsSorted(queue) {
			t.Errorf("%q became %q and %q", before, names, queue)
		}
		for _, name := range before {
			if strings.HasPrefix(name, "lock-") != slices.Contains(queue, name) {
				t.Errorf("%q in the queue %q of %q", name, queue, before)
			}
		}
	})
}
