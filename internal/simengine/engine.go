package simengine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config is what an Engine is made of; the zero value of all but Name is useful.
type Config struct {
	Name string
	// Containers are there, and run, from the beginning.
	Containers int
	Labels     []string // as "key=value"
	// Latency is how long the engine waits before it answers a request.
	Latency time.Duration
}

const (
	apiVersion    = "1.47"
	minAPIVersion = "1.24"
	serverVersion = "27.3.1"
	cpus          = 8
	memory        = 32 << 30 // bytes
	// maxBody bounds what a request may bring, in bytes.
	maxBody = 4 << 20
)

// Engine is one simulated engine: an http.Handler that speaks the Docker Engine
// API. Its methods may be called from any goroutine.
type Engine struct {
	cfg Config
	id  string

	mu         sync.Mutex
	made       uint64                // objects made so far, for IDs; guarded by mu, as are all below
	containers map[string]*container // by ID
	names      map[string]*container
	ordered    []*container // oldest first; nil where one was removed
	holes      int          // nils in ordered
	images     []*image
	networks   []*network
	volumes    []*volume
	events     eventHub
	attached   int // streams of attach
}

var _ http.Handler = (*Engine)(nil)

// New makes an engine with its first containers.
func New(cfg Config) *Engine {
	e := &Engine{
		cfg: cfg, containers: make(map[string]*container, cfg.Containers), names: make(map[string]*container, cfg.Containers),
	}
	e.id = strings.ToUpper(e.newID()[:32])
	e.addImage("busybox")
	e.addImage("alpine")
	for _, name := range []string{"bridge", "host", "none"} {
		driver := name
		if name == "none" {
			driver = "null"
		}
		e.networks = append(e.networks, &network{ID: e.newID(), Name: name, Driver: driver, Scope: "local", Created: time.Now().UTC()})
	}
	e.seed()
	return e
}

// seed makes the containers of the beginning. Their texts are shared: thirty of
// them on a thousand engines should cost little.
func (e *Engine) seed() {
	began := time.Now().UTC().Add(-time.Hour)
	for i := range e.cfg.Containers {
		c := &container{
			id: e.newID(), name: e.cfg.Name + "-c" + strconv.Itoa(i), image: e.images[0],
			config: seedConfig, host: seedHost, labels: seedLabels,
			created: began.Add(time.Duration(i) * time.Second),
			path:    "sleep", args: seedArgs,
		}
		c.state, c.started = running, c.created
		e.addContainer(c)
	}
}

// newID makes an ID that is the same in every run: figures of two runs are then
// about the same thing. mu is held, or the engine is not shared yet.
func (e *Engine) newID() string {
	e.made++
	sum := sha256.Sum256(strconv.AppendUint([]byte(e.cfg.Name+"\x00"), e.made, 10))
	return hex.EncodeToString(sum[:])
}

// ServeHTTP answers one request of the API.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, err := unversioned(r.URL.Path)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if e.cfg.Latency > 0 && !pause(r.Context(), e.cfg.Latency) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	e.route(w, r, path)
}

// unversioned takes the version off a path.
func unversioned(path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "/v1.")
	if !ok {
		return path, nil
	}
	minor, rest, _ := strings.Cut(rest, "/")
	n, err := strconv.ParseUint(minor, 10, 16)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q is no API version", "1."+minor)
	case n > 47:
		return "", fmt.Errorf("client version 1.%d is too new. Maximum supported API version is %s", n, apiVersion)
	case n < 24:
		return "", fmt.Errorf("client version 1.%d is too old. Minimum supported API version is %s", n, minAPIVersion)
	}
	return "/" + rest, nil
}

// route finds who answers. Paths are cut by hand: the simulator shares the
// machine with what it is there to measure.
func (e *Engine) route(w http.ResponseWriter, r *http.Request, path string) {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case kind == "_ping" && get:
		ping(w)
	case kind == "version" && get:
		e.version(w)
	case kind == "info" && get:
		e.info(w)
	case kind == "events" && get:
		e.streamEvents(w, r)
	case kind == "containers":
		e.routeContainer(w, r, rest)
	case kind == "images":
		e.routeImage(w, r, rest)
	case kind == "networks":
		e.routeNetwork(w, r, rest)
	case kind == "volumes":
		e.routeVolume(w, r, rest)
	default:
		e.notSimulated(w, r)
	}
}

// notSimulated says what the simulator is, to one who may have met it unawares.
func (e *Engine) notSimulated(w http.ResponseWriter, r *http.Request) {
	fail(w, http.StatusNotImplemented, fmt.Sprintf(
		"%s %s: engine %s is simulated, runs no programs and cannot do that; use a real Docker Engine", r.Method, r.URL.Path, e.cfg.Name))
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	answerRaw(w, status, append(body, '\n'))
}

func answerRaw(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}

func fail(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

// readBody decodes a JSON body; false when it has told why it could not.
func readBody(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		fail(w, http.StatusBadRequest, "request body: "+err.Error())
		return false
	}
	return true
}
