package rawstream

import (
	"context"
	"net/http"
)

type stopKey struct{}

// WithStop is for servers: stop is done when they want their streams to end.
func WithStop(ctx, stop context.Context) context.Context {
	return context.WithValue(ctx, stopKey{}, stop)
}

// StopOf is done when the server of a request wants its streams to end. A
// request's own context is no measure of a hijacked connection: it ends with the
// first end of input, and attached clients end theirs long before they have read
// all output.
func StopOf(r *http.Request) context.Context {
	if stop, ok := r.Context().Value(stopKey{}).(context.Context); ok {
		return stop
	}
	return context.WithoutCancel(r.Context())
}
