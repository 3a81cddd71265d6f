package hub

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxBody is the size of a request's body in bytes.
	maxBody = 1 << 10
	// Tokens are made by people, so that a slow pace does not hurt.
	createRate  = 0.2
	createBurst = 20
)

// front is the HTTP surface over a store.
type front struct {
	store   *store
	clients *clients // all requests
	makers  *clients // those that make tokens
	logger  *slog.Logger
}

func newFront(s *store, perSecond float64, logger *slog.Logger) *front {
	return &front{
		store:   s,
		clients: newClients(pace{rate: perSecond, burst: int(4*perSecond) + 1}),
		makers:  newClients(pace{rate: createRate, burst: createBurst}),
		logger:  logger,
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	now := time.Now()
	if ok, after := f.clients.allow(r.RemoteAddr, now); !ok {
		tooMany(w, after)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	kind, token := parsePath(r.URL.Path)
	switch kind {
	case health:
		f.health(w, r)
	case clusters:
		f.clusters(w, r, now)
	case cluster:
		f.cluster(w, r, token, now)
	default:
		refuse(w, http.StatusNotFound, "nothing is here: use "+clustersPath+" and "+clustersPath+"/TOKEN, where a token is 32 digits and letters a to f")
	}
}

func (f *front) health(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(w, "GET, HEAD")
		return
	}
	answer(w, http.StatusOK, "ok\n")
}

func (f *front) clusters(w http.ResponseWriter, r *http.Request, now time.Time) {
	if r.Method != http.MethodPost {
		notAllowed(w, "POST")
		return
	}
	if ok, after := f.makers.allow(r.RemoteAddr, now); !ok {
		tooMany(w, after)
		return
	}
	token, err := f.store.create(now)
	if err != nil {
		f.fail(w, err)
		return
	}
	answer(w, http.StatusCreated, token)
}

func (f *front) cluster(w http.ResponseWriter, r *http.Request, token string, now time.Time) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		f.list(w, r, token, now)
	case http.MethodPost:
		f.announce(w, r, token, now)
	case http.MethodDelete:
		f.remove(w, r, token, now)
	default:
		notAllowed(w, "GET, HEAD, POST, DELETE")
	}
}

func (f *front) list(w http.ResponseWriter, r *http.Request, token string, now time.Time) {
	addresses, err := f.store.list(token, now)
	if err != nil {
		f.fail(w, err)
		return
	}
	body, err := json.Marshal(addresses)
	if err != nil {
		f.fail(w, err)
		return
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache") // may be kept, and is asked for each time
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

// matches reads If-None-Match, RFC 9110 section 13.1.2.
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == tag || one == "*" {
			return true
		}
	}
	return false
}

func (f *front) announce(w http.ResponseWriter, r *http.Request, token string, now time.Time) {
	ttl, err := parseTTL(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		refuse(w, http.StatusRequestEntityTooLarge, "the body is larger than "+strconv.Itoa(maxBody)+" bytes: send host:port and nothing else")
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "the body could not be read: send host:port")
		return
	}
	addr, err := parseAddress(string(body))
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if err := f.store.announce(token, addr, now, ttl); err != nil {
		f.fail(w, err)
		return
	}
	answer(w, http.StatusOK, "registered\n")
}

func (f *front) remove(w http.ResponseWriter, r *http.Request, token string, now time.Time) {
	var err error
	if query := r.URL.Query(); query.Has("addr") {
		addr, bad := parseAddress(query.Get("addr"))
		if bad != nil {
			refuse(w, http.StatusBadRequest, bad.Error())
			return
		}
		err = f.store.withdraw(token, addr, now)
	} else {
		if r.URL.RawQuery != "" {
			// A misspelt addr must not cost the whole cluster.
			refuse(w, http.StatusBadRequest, "unknown query: use ?addr=host:port to remove an address, or no query to remove the token")
			return
		}
		err = f.store.remove(token)
	}
	if err != nil {
		f.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// fail answers with what the store said; what is not the client's fault is
// logged and not told.
func (f *front) fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errUnknownToken):
		refuse(w, http.StatusNotFound, err.Error())
	case errors.Is(err, errFull):
		refuse(w, http.StatusInsufficientStorage, err.Error())
	default:
		f.logger.Error("the hub's file cannot be read or written", "err", err)
		refuse(w, http.StatusInternalServerError, "the hub cannot use its file: its log says more")
	}
}

func tooMany(w http.ResponseWriter, after int) {
	w.Header().Set("Retry-After", strconv.Itoa(after))
	refuse(w, http.StatusTooManyRequests, "too many requests from your address: try again in "+strconv.Itoa(after)+" s")
}

func notAllowed(w http.ResponseWriter, methods string) {
	w.Header().Set("Allow", methods)
	refuse(w, http.StatusMethodNotAllowed, "this method does not work here: use "+methods)
}

func refuse(w http.ResponseWriter, status int, sentence string) { answer(w, status, sentence+"\n") }

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
