package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/skep/skep/internal/engine"
)

// failure of an operation on one of several engines.
type engineFailure struct {
	from *member
	err  error
}

// toldFailures is how many different reasons are told in one sentence.
const toldFailures = 5

// explain says why which engines failed, those with the same reason together:
// "n1, n2: no space left on device; n3: conflict".
func explain(failed []engineFailure) string {
	var reasons []string
	engines := map[string][]string{}
	for _, f := range failed {
		reason := reasonOf(f.err)
		if engines[reason] == nil {
			reasons = append(reasons, reason)
		}
		engines[reason] = append(engines[reason], f.from.Name())
	}
	var told []string
	for _, reason := range reasons[:min(len(reasons), toldFailures)] {
		told = append(told, strings.Join(engines[reason], ", ")+": "+reason)
	}
	if more := len(reasons) - len(told); more > 0 {
		told = append(told, fmt.Sprintf("and %d other errors", more))
	}
	return strings.Join(told, "; ")
}

// reasonOf is an error's text where the engine's name stands before it.
func reasonOf(err error) string {
	var unreachable *engine.UnreachableError
	if errors.As(err, &unreachable) {
		return "cannot be reached: " + unreachable.Err.Error()
	}
	return oneLine(err.Error())
}

// statusOf is the HTTP status of an engine's failure.
func statusOf(err error) int {
	var status *engine.StatusError
	var unreachable *engine.UnreachableError
	switch {
	case errors.As(err, &status):
		return status.Status
	case errors.As(err, &unreachable):
		return http.StatusServiceUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}

// sameFailure gives the error that all of the failures are, or nil.
func sameFailure(failed []engineFailure) error {
	for _, f := range failed {
		if statusOf(f.err) != statusOf(failed[0].err) || reasonOf(f.err) != reasonOf(failed[0].err) {
			return nil
		}
	}
	return failed[0].err
}

// someFailed is the error of an operation that not all engines have carried
// out: the status of the first that refused, the reasons, and who has done it.
func someFailed(failed []engineFailure, done []string, did string) error {
	text := explain(failed)
	if len(done) > 0 {
		text += "; " + did + " on " + strings.Join(done, ", ")
	}
	return &engine.StatusError{Status: statusOf(failed[0].err), Message: text}
}

// split parts the answers from the failures.
func split[T any](replies []reply[T]) (done []reply[T], failed []engineFailure) {
	for _, r := range replies {
		if r.err != nil {
			failed = append(failed, engineFailure{r.from, r.err})
		} else {
			done = append(done, r)
		}
	}
	return done, failed
}

func namesOfReplies[T any](replies []reply[T]) []string {
	names := make([]string, len(replies))
	for i, r := range replies {
		names[i] = r.from.Name()
	}
	return names
}
