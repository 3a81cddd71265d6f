package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/skep/skep/internal/engine"
)

type quietObserver struct{ engine.Observer }

func (quietObserver) EngineObjects(*engine.Engine) {}

func failedOn(t *testing.T, errs ...error) (failed []engineFailure) {
	t.Helper()
	for i, err := range errs {
		e, eerr := engine.New(engine.Config{Address: fmt.Sprintf("n%d:1", i+1), Observer: quietObserver{}})
		if eerr != nil {
			t.Fatal(eerr)
		}
		failed = append(failed, engineFailure{&member{Engine: e}, err})
	}
	return failed
}

func TestSomeFailed(t *testing.T) {
	conflict := &engine.StatusError{Status: 409, Message: "in\nuse"}
	gone := &engine.UnreachableError{Name: "n2", Address: "n2:1", Err: errors.New("connection refused")}
	for name, c := range map[string]struct {
		errs   []error
		done   []string
		status int
		want   string
	}{
		"one":                    {[]error{conflict}, nil, 409, "n1:1: in use"},
		"others have done it":    {[]error{conflict}, []string{"n3", "n4"}, 409, "n1:1: in use; removed on n3, n4"},
		"for the same reason":    {[]error{conflict, conflict}, nil, 409, "n1:1, n2:1: in use"},
		"for different ones":     {[]error{gone, conflict}, nil, 503, "n1:1: cannot be reached: connection refused; n2:1: in use"},
		"one that took too long": {[]error{context.DeadlineExceeded}, nil, 504, "n1:1: context deadline exceeded"},
		"one that is not HTTP's": {[]error{errors.New("torn")}, nil, 500, "n1:1: torn"},
		"for more than one can read": {
			[]error{errors.New("a"), errors.New("b"), errors.New("c"), errors.New("d"), errors.New("e"), errors.New("f"), errors.New("g")}, nil, 500,
			"n1:1: a; n2:1: b; n3:1: c; n4:1: d; n5:1: e; and 2 other errors",
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := someFailed(failedOn(t, c.errs...), c.done, "removed")
			if statusOf(err) != c.status || err.Error() != c.want {
				t.Errorf("%d %q, want %d %q", statusOf(err), err, c.status, c.want)
			}
		})
	}
}

func TestSameFailure(t *testing.T) {
	a, b := &engine.StatusError{Status: 404, Message: "x"}, &engine.StatusError{Status: 500, Message: "x"}
	if err := sameFailure(failedOn(t, a, a)); err != error(a) {
		t.Errorf("alike: %v", err)
	}
	if err := sameFailure(failedOn(t, a, b)); err != nil {
		t.Errorf("of another status: %v", err)
	}
}
