package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/consul/api"
)

// errClosed is what a store says after Close.
var errClosed = errdefs.ErrUnavailable.WithMessage("consul: this connection is closed: open another")

// failure is a sentence, and what it is in terms of errdefs and of its cause.
type failure struct {
	sentence string
	is       []error
}

func (f *failure) Error() string   { return f.sentence }
func (f *failure) Unwrap() []error { return f.is }

// explain makes a sentence of what went wrong while doing, under the caller's
// context, not the bounded one of the request.
func (s *Store) explain(ctx context.Context, doing string, err error) error {
	if s.ctx.Err() != nil {
		return errClosed
	}
	if ctx.Err() != nil {
		return fmt.Errorf("consul: %s: %w", doing, context.Cause(ctx))
	}
	var status api.StatusError
	switch {
	case errors.As(err, &status) && status.Code == 403:
		return &failure{
			fmt.Sprintf("consul at %s does not permit to %s (%s): put a token that has key:write and session:write into CONSUL_HTTP_TOKEN", s.endpoint, doing, oneLine(status.Body)),
			[]error{errdefs.ErrPermissionDenied, err},
		}
	case errors.As(err, &status):
		return &failure{
			fmt.Sprintf("consul at %s failed to %s: HTTP status %d: %s", s.endpoint, doing, status.Code, oneLine(status.Body)),
			[]error{errdefs.ErrUnavailable, err},
		}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{
			fmt.Sprintf("consul at %s did not answer in time when asked to %s: check that it has a leader and is not overloaded", s.endpoint, doing),
			[]error{errdefs.ErrUnavailable, err},
		}
	}
	return &failure{
		fmt.Sprintf("consul at %s cannot be asked to %s: %s: check the address and that the agent runs", s.endpoint, doing, oneLine(err.Error())),
		[]error{errdefs.ErrUnavailable, err},
	}
}

// oneLine keeps what others wrote short and on one line.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "..."
	}
	if text == "" {
		return "no reason given"
	}
	return text
}
