package engine

import (
	"context"
	"net/http"

	"github.com/containerd/errdefs"
)

type gateKey struct{}

// WithGate marks ctx so that gate is asked just before a request that may change
// something is sent to an engine; its error keeps the request from being sent.
// A manager that may lose its right to act between taking an order and carrying
// it out passes it on.
func WithGate(ctx context.Context, gate func() error) context.Context {
	return context.WithValue(ctx, gateKey{}, gate)
}

// mayChange says that a request with this method may change something.
func mayChange(method string) bool { return method != http.MethodGet && method != http.MethodHead }

func pass(ctx context.Context, method string) error {
	gate, ok := ctx.Value(gateKey{}).(func() error)
	if !ok || !mayChange(method) {
		return nil
	}
	if err := gate(); err != nil {
		return errdefs.ErrUnavailable.WithMessage("nothing was sent to the engine: " + err.Error() + "; try again")
	}
	return nil
}
