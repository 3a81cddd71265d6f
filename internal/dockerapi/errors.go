package dockerapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errhttp"

	"github.com/skep/skep/internal/engine"
)

// statusClientGone is what proxies log for a client that did not wait; nobody
// reads it.
const statusClientGone = 499

// StatusOf is the HTTP status of an error: the engine's own where an engine
// refused, else that of the error's kind.
func StatusOf(err error) int {
	var status *engine.StatusError
	switch {
	case errors.As(err, &status) && status.Status < http.StatusBadRequest && status.Status != http.StatusNotModified:
		return http.StatusBadGateway // no error to the engine, and no answer to us
	case errors.As(err, &status):
		return status.Status
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errdefs.IsUnavailable(err):
		return http.StatusServiceUnavailable
	default:
		return errhttp.ToHTTP(err)
	}
}

// WriteError answers with an error. A client that has gone gets none.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		w.WriteHeader(statusClientGone)
		return
	}
	writeError(w, StatusOf(err), err.Error())
}

func writeError(w http.ResponseWriter, status int, message string) {
	w.Header().Del("Content-Length")
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	body := marshal(map[string]string{"message": message})
	// A client that still sends its body knows by this that it has read all.
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// WriteJSON answers with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	return WriteRaw(w, status, marshal(v))
}

// WriteRaw answers with JSON that is there already.
func WriteRaw(w http.ResponseWriter, status int, body []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err := w.Write(body)
	_ = err // the client has gone; there is nobody to tell
	return nil
}

// marshal encodes as engines do: with a newline, and "<" as itself.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte(`{"message":"the answer could not be encoded"}`)
	}
	return b.Bytes()
}
