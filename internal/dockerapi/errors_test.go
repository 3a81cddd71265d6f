package dockerapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/engine"
)

func TestStatusOf(t *testing.T) {
	unreachable := func(err error) error { return &engine.UnreachableError{Name: "n1", Address: "a:1", Err: err} }
	for _, tc := range []struct {
		name string
		err  error
		want int
	}{
		{"not found", errdefs.ErrNotFound, 404},
		{"invalid", errdefs.ErrInvalidArgument, 400},
		{"ours", dockerapi.Invalid("x"), 400},
		{"conflict", errdefs.ErrConflict, 409},
		{"unauthorized", errdefs.ErrUnauthenticated, 401},
		{"forbidden", errdefs.ErrPermissionDenied, 403},
		{"unavailable", errdefs.ErrUnavailable, 503},
		{"not implemented", errdefs.ErrNotImplemented, 501},
		{"not modified", errdefs.ErrNotModified, 304},
		{"internal", errdefs.ErrInternal, 500},
		{"of no kind", errors.New("x"), 500},
		{"wrapped twice", fmt.Errorf("a: %w", fmt.Errorf("b: %w", errdefs.ErrNotFound)), 404},
		{"deadline", context.DeadlineExceeded, 504},
		{"an engine that was late", unreachable(context.DeadlineExceeded), 504},
		{"an engine that is not there", unreachable(errors.New("refused")), 503},
		{"an engine's own status", &engine.StatusError{Status: 418}, 418},
		{"an engine's own status, wrapped", fmt.Errorf("create: %w", &engine.StatusError{Status: 409}), 409},
		{"an engine's own status beside a kind", errors.Join(errdefs.ErrNotFound, &engine.StatusError{Status: 500}), 500},
		{"an engine's not modified", &engine.StatusError{Status: 304}, 304},
		{"an engine's redirect", &engine.StatusError{Status: 301}, 502},
		{"a status that is none", &engine.StatusError{Status: 7}, 502},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := dockerapi.StatusOf(tc.err); got != tc.want {
				t.Errorf("got %d", got)
			}
		})
	}
}

func TestWriteError(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "5")
	dockerapi.WriteError(w, r, fmt.Errorf(`a <b> & "c": %w`, errdefs.ErrConflict))
	if w.Code != 409 || w.Body.String() != `{"message":"a <b> & \"c\": conflict"}`+"\n" || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Content-Length") != "38" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}

	w = httptest.NewRecorder()
	dockerapi.WriteError(w, r, errdefs.ErrNotModified)
	if w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("not modified: %d %s", w.Code, w.Body)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w = httptest.NewRecorder()
	dockerapi.WriteError(w, r.WithContext(ctx), errors.New("nobody reads this"))
	if w.Code != 499 || w.Body.Len() != 0 {
		t.Errorf("a client that has gone: %d %s", w.Code, w.Body)
	}
}

func TestWriteJSON(t *testing.T) {
	w := httptest.NewRecorder()
	if err := dockerapi.WriteJSON(w, 201, map[string]string{"a": "<&>"}); err != nil || w.Code != 201 || w.Body.String() != "{\"a\":\"<&>\"}\n" {
		t.Errorf("%d %s %v", w.Code, w.Body, err)
	}
	w = httptest.NewRecorder()
	if err := dockerapi.WriteRaw(w, 200, []byte(`{"b": 1}`)); err != nil || w.Body.String() != `{"b": 1}` {
		t.Errorf("%s %v", w.Body, err)
	}
}

func TestNotOverManyEngines(t *testing.T) {
	err := dockerapi.NotOverManyEngines("use one engine")(nil, nil, nil)
	if err == nil || err.Error() != "use one engine" || dockerapi.StatusOf(err) != http.StatusNotImplemented {
		t.Error(err)
	}
}

func TestReadJSON(t *testing.T) {
	const limit = 8 << 20
	for _, tc := range []struct {
		name, contentType, body string
		want                    string // what is read; with an error, its beginning
		bad                     bool
	}{
		{"an object", "application/json", `{"a": 1}`, `{"a": 1}`, false},
		{"with a charset", "application/json; charset=utf-8", `[]`, `[]`, false},
		{"in capitals", "Application/JSON", `1`, `1`, false},
		{"nothing", "", "", "", false},
		{"nothing of another type", "text/plain", "", "", false},
		{"another type", "text/plain", "{}", "unsupported Content-Type header (text/plain): must be 'application/json'", true},
		{"a form, as curl sends it", "application/x-www-form-urlencoded", "{}", "unsupported Content-Type header (application/x-www-form-urlencoded): must be 'application/json'", true},
		{"no type", "", "{}", "malformed Content-Type header ()", true},
		{"a type that is none", "application/json;;", "{}", "malformed Content-Type header (application/json;;)", true},
		{"no JSON", "application/json", "{a}", "invalid JSON: invalid character 'a'", true},
		{"half of it", "application/json", `{"a":`, "invalid JSON: unexpected end of JSON input", true},
		{"more behind", "application/json", `{} {}`, "invalid JSON: invalid character '{' after top-level value", true},
		{"white space alone", "application/json", " \n", "invalid JSON: unexpected end of JSON input", true},
		{"as large as may be", "application/json", `"` + strings.Repeat("x", limit-2) + `"`, `"xxx`, false},
		{"too large", "application/json", `"` + strings.Repeat("x", limit-1) + `"`, "the request's body is larger than 8 MiB", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader(tc.body))
			r.Header.Set("Content-Type", tc.contentType)
			got, err := dockerapi.ReadJSON(r)
			switch {
			case tc.bad:
				if err == nil || !strings.HasPrefix(err.Error(), tc.want) || dockerapi.StatusOf(err) != 400 {
					t.Errorf("error %v", err)
				}
			case err != nil || !bytes.HasPrefix(got, []byte(tc.want)) || len(got) != len(tc.body):
				t.Errorf("%.20q, %v", got, err)
			}
		})
	}
	r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("{"), broken{}))
	if _, err := dockerapi.ReadJSON(r); err == nil || dockerapi.StatusOf(err) != 400 {
		t.Errorf("a body that breaks off: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
