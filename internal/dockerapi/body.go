package dockerapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/containerd/errdefs"
)

// maxJSON bounds the bodies that skep reads into memory.
const maxJSON = 8 << 20

// ReadJSON reads a body that must be JSON, or empty. Engines take no other
// content type, and so neither do we.
func ReadJSON(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxJSON))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fmt.Errorf("the request's body is larger than %d MiB: %w", maxJSON>>20, errdefs.ErrInvalidArgument)
	case err != nil:
		return nil, fmt.Errorf("read request: %v: %w", err, errdefs.ErrInvalidArgument)
	case len(body) == 0:
		return nil, nil
	}
	given := r.Header.Get("Content-Type")
	switch t, _, err := mime.ParseMediaType(given); {
	case err != nil:
		return nil, invalid("malformed Content-Type header (%s): %v", given, err)
	case t != "application/json":
		return nil, invalid("unsupported Content-Type header (%s): must be 'application/json'", given)
	}
	if !json.Valid(body) {
		return nil, invalid("invalid JSON: %v", json.Unmarshal(body, new(json.RawMessage)))
	}
	return body, nil
}

type badRequest struct{ text string }

func (e *badRequest) Error() string   { return e.text }
func (*badRequest) InvalidParameter() {}
func (*badRequest) Unwrap() error     { return errdefs.ErrInvalidArgument }

func invalid(format string, args ...any) error { return &badRequest{fmt.Sprintf(format, args...)} }

// Invalid is an error with status 400.
func Invalid(format string, args ...any) error { return invalid(format, args...) }

type notImplemented struct{ text string }

func (e *notImplemented) Error() string { return e.text }
func (*notImplemented) Unwrap() error   { return errdefs.ErrNotImplemented }

// NotOverManyEngines is a handler for what cannot be done: status 501 with the
// sentence that says why and what to do instead.
func NotOverManyEngines(why string) Handler {
	return func(http.ResponseWriter, *http.Request, map[string]string) error { return &notImplemented{why} }
}
