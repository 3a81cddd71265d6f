package engine_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
)

type silent struct{}

func (silent) EngineState(*engine.Engine, engine.State, engine.State, error)             {}
func (silent) EngineContainers(*engine.Engine, []*engine.Container, []*engine.Container) {}
func (silent) EngineObjects(*engine.Engine)                                              {}
func (silent) EngineEvent(*engine.Engine, engine.Event)                                  {}

func TestWithGate_keepsOrdersFromBeingSent(t *testing.T) {
	e, err := engine.New(engine.Config{Address: "unix:///nowhere/docker.sock", Observer: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	shut := engine.WithGate(t.Context(), func() error { return errors.New("not the primary any more") })
	send := map[string]func(context.Context, string) error{
		"a call": func(ctx context.Context, method string) error {
			_, err := e.Do(ctx, engine.Request{Method: method, Path: "/x"})
			return err
		},
		"a stream": func(ctx context.Context, method string) error {
			_, err := e.Hijack(ctx, engine.Request{Method: method, Path: "/x"})
			return err
		},
	}
	for name, do := range send {
		t.Run(name, func(t *testing.T) {
			err := do(shut, http.MethodPost)
			if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "not the primary any more; try again") {
				t.Errorf("an order: %v", err)
			}
			var unreachable *engine.UnreachableError
			if err := do(shut, http.MethodGet); !errors.As(err, &unreachable) {
				t.Errorf("a question was not sent: %v", err)
			}
		})
	}
}
