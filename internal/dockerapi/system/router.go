// Package system routes what the Docker API says of the engine as a whole:
// ping, version, info, events, disk usage, and registry logins.
package system

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/system"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/version"
)

// Backend is what these routes need of a cluster.
type Backend interface {
	Info() system.Info
	WriteInfo(io.Writer) error
	APIVersion() apiversion.Version
	Events(ctx context.Context, o cluster.EventOptions, started func(), emit func(json.RawMessage) error) error
	DiskUsage(ctx context.Context, types []string, v apiversion.Version) ([]byte, error)
	AnyEngine() (*engine.Engine, error)
	BuilderVersion(context.Context) string
}

var _ Backend = (*cluster.Cluster)(nil)

// Router is the system routes.
type Router struct{ cluster Backend }

// New makes the routes for a cluster.
func New(c Backend) *Router { return &Router{c} }

// Routes implements dockerapi.Router.
func (s *Router) Routes() []dockerapi.Route {
	return []dockerapi.Route{
		{Method: http.MethodHead, Path: "/_ping", Handler: s.ping},
		{Method: http.MethodGet, Path: "/_ping", Handler: s.ping},
		{Method: http.MethodGet, Path: "/version", Handler: s.version},
		{Method: http.MethodGet, Path: "/info", Handler: s.info},
		{Method: http.MethodGet, Path: "/events", Handler: s.events},
		{Method: http.MethodGet, Path: "/system/df", Handler: s.diskUsage},
		{Method: http.MethodPost, Path: "/auth", Handler: s.auth},
	}
}

// ping is what clients negotiate by.
func (s *Router) ping(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	h := w.Header()
	h.Set("Builder-Version", s.cluster.BuilderVersion(r.Context()))
	h.Set("Swarm", "inactive")
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method == http.MethodHead {
		h.Set("Content-Length", "0")
		return nil
	}
	_, _ = w.Write([]byte("OK"))
	return nil
}

func (s *Router) version(w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
	info, api := s.cluster.Info(), s.cluster.APIVersion().String()
	details := map[string]string{
		"ApiVersion": api, "MinAPIVersion": apiversion.Min.String(), "GitCommit": version.Commit(), "GoVersion": runtime.Version(),
		"Os": runtime.GOOS, "Arch": runtime.GOARCH, "KernelVersion": info.KernelVersion, "BuildTime": version.BuildTime(),
		"Experimental": strconv.FormatBool(info.ExperimentalBuild),
	}
	answer := map[string]any{
		"Platform":   map[string]string{"Name": "skep"},
		"Components": []map[string]any{{"Name": "Engine", "Version": info.ServerVersion, "Details": details}},
		"Version":    info.ServerVersion, "ApiVersion": api, "MinAPIVersion": apiversion.Min.String(),
		"GitCommit": version.Commit(), "GoVersion": runtime.Version(), "Os": runtime.GOOS, "Arch": runtime.GOARCH,
		"KernelVersion": info.KernelVersion, "BuildTime": version.BuildTime(), "Experimental": info.ExperimentalBuild,
	}
	return dockerapi.WriteJSON(w, http.StatusOK, answer)
}

func (s *Router) info(w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
	w.Header().Set("Content-Type", "application/json")
	_ = s.cluster.WriteInfo(w) // the client has gone; there is nobody to tell
	return nil
}

func (s *Router) events(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	query := r.URL.Query()
	filters, err := apifilter.Parse(query.Get("filters"))
	if err != nil {
		return err
	}
	since, err := timestamp("since", query.Get("since"))
	if err != nil {
		return err
	}
	until, err := timestamp("until", query.Get("until"))
	if err != nil {
		return err
	}
	if !since.IsZero() && !until.IsZero() && until.Before(since) {
		return dockerapi.Invalid("`since` time (%s) cannot be after `until` time (%s)", query.Get("since"), query.Get("until"))
	}
	flush := http.NewResponseController(w).Flush
	started := false
	err = s.cluster.Events(r.Context(), cluster.EventOptions{Since: since, Until: until, Filters: filters}, func() {
		started = true
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_ = flush()
	}, func(ev json.RawMessage) error {
		if _, err := w.Write(append(ev, '\n')); err != nil {
			return err
		}
		return flush()
	})
	if started {
		return nil // the status is out; the end of the stream is the message
	}
	return err
}

// timestamp reads seconds with up to nine decimals, or RFC 3339.
func timestamp(name, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	seconds, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || len(fraction) > 9 {
		return time.Time{}, dockerapi.Invalid("%s: %q is no time: give seconds since 1970, with decimals if you like", name, s)
	}
	nano, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil || nano < 0 {
		return time.Time{}, dockerapi.Invalid("%s: %q is no time: give seconds since 1970, with decimals if you like", name, s)
	}
	return time.Unix(sec, nano), nil
}

func (s *Router) diskUsage(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	usage, err := s.cluster.DiskUsage(r.Context(), r.URL.Query()["type"], dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, usage)
}

// auth asks any engine: all reach the same registries, or should.
func (s *Router) auth(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	e, err := s.cluster.AnyEngine()
	if err != nil {
		return err
	}
	return dockerapi.Forward(w, r, e, "/auth", dockerapi.ForwardOptions{})
}
