package nodes_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/nodes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWatch_sendsTheListOnceAndClosesWhenDone(t *testing.T) {
	b, err := nodes.New("10.0.0.[1:2]:2375,[::1]:2375")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	updates := b.Watch(ctx)
	want := discovery.Update{Entries: discovery.Entries{"10.0.0.1:2375", "10.0.0.2:2375", "[::1]:2375"}}
	if diff := cmp.Diff(want, <-updates); diff != "" {
		t.Error(diff)
	}
	select {
	case u, open := <-updates:
		t.Errorf("one more: %v, open %v", u, open)
	default:
	}
	cancel()
	if u, open := <-updates; open {
		t.Errorf("one more at the end: %v", u)
	}
}

func TestWatch_mayRunTwiceAtOnce(t *testing.T) {
	b, err := nodes.New("a:1")
	if err != nil {
		t.Fatal(err)
	}
	first, second := b.Watch(t.Context()), b.Watch(t.Context())
	if diff := cmp.Diff(<-first, <-second); diff != "" {
		t.Error(diff)
	}
}

func TestNew_refuses(t *testing.T) {
	for _, tc := range []struct{ name, list, want string }{
		{"nothing", " , ", "the list of engines is empty"},
		{"an address without a port", "web1", "address web1: missing port in address, please check you are using the correct discovery"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := nodes.New(tc.list); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestRegister_isNotImplemented(t *testing.T) {
	b, err := nodes.New("a:1")
	if err != nil {
		t.Fatal(err)
	}
	err = b.Register(t.Context(), "b:1")
	if !errors.Is(err, discovery.ErrNotImplemented) || !errdefs.IsNotImplemented(err) || err.Error() != "not implemented in this discovery service" {
		t.Errorf("error %v", err)
	}
}
