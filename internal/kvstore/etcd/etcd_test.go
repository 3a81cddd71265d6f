package etcd_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/etcd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore_saysWhoDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // nobody listens there any more
	s, err := etcd.New([]string{address}, etcd.Options{Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.List(t.Context(), "nodes")
	if err == nil || !strings.HasPrefix(err.Error(), "etcd at "+address+" does not answer (list nodes)") {
		t.Errorf("error %v", err)
	}
	if err := s.Announce(t.Context(), kvstore.Pair{Key: "nodes/a:1", Value: "a:1"}, time.Minute); err == nil {
		t.Error("no error")
	}
	if _, err := s.Lock(t.Context(), kvstore.Pair{Key: "leader", Value: "a"}, time.Minute); err == nil {
		t.Error("no error")
	}
}
