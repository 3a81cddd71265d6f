package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/containerd/errdefs/pkg/errhttp"
)

// StatusError is an engine's own refusal: its HTTP status and its sentence.
type StatusError struct {
	Status  int
	Message string
}

func (e *StatusError) Error() string { return e.Message }

// Unwrap gives the errdefs kind of the status, for errdefs.IsNotFound and kin.
func (e *StatusError) Unwrap() error { return errhttp.ToNative(e.Status) }

// UnreachableError says that an engine could not be asked, or did not answer.
type UnreachableError struct {
	Name, Address string
	Err           error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("engine %s (%s) cannot be reached: %v", e.Name, e.Address, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Unavailable marks the error for errdefs.
func (e *UnreachableError) Unavailable() {}

// errStoppedAnswering ends requests that wait for an engine when its probes fail.
var errStoppedAnswering = errors.New("the engine has stopped answering")

// maxErrorBody bounds what is read of an error's body.
const maxErrorBody = 64 << 10

// ReadError turns an answer with an error status into a StatusError. It reads
// and closes the body.
func ReadError(resp *http.Response) error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var payload struct {
		Message string `json:"message"`
	}
	msg := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &payload) == nil && payload.Message != "" {
		msg = payload.Message
	}
	if msg == "" {
		msg = fmt.Sprintf("engine answered %s without a reason", resp.Status)
	}
	return &StatusError{Status: resp.StatusCode, Message: msg}
}
