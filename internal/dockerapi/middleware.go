package dockerapi

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/skep/skep/internal/apiversion"
)

// Options are what the front door is made of.
type Options struct {
	Logger *slog.Logger
	// APIVersion is the newest version to advertise now.
	APIVersion func() apiversion.Version
	// Server is the value of the Server header.
	Server string
	CORS   bool
	// Experimental is what clients are told by the header Docker-Experimental.
	Experimental bool
	// Authorizer is asked about each request and answer; nil for none.
	Authorizer *Authorizer
	// Observe is told of each request when its answer has begun; nil for none.
	Observe func(Observation)
}

// Guard puts all middleware around h but the one that cuts the version off the
// path: for what sends requests on as they are, to another manager say. They
// are authorized here, where it is known who sends them.
func Guard(o Options, h http.Handler) http.Handler {
	if o.Authorizer != nil {
		// Plugins are told the path with its version, so they come before it is cut.
		h = o.Authorizer.wrap(h)
	}
	h = o.headers(h)
	if o.CORS {
		h = cors(h)
	}
	if o.Observe != nil {
		h = observed(o.Observe, h)
	}
	return o.recover(o.log(h))
}

// recover keeps a fault in one request from ending all others.
func (o Options) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &watched{ResponseWriter: w}
		w = answer
		defer func() {
			fault := recover()
			if fault == nil {
				return
			}
			if fault == http.ErrAbortHandler {
				panic(fault)
			}
			o.Logger.Error("fault in a request", "method", r.Method, "path", r.URL.Path, "fault", fault, "stack", string(debug.Stack()))
			if answer.begun {
				// Only a broken connection can tell that the answer is not whole.
				panic(http.ErrAbortHandler)
			}
			writeError(w, http.StatusInternalServerError, "skep has a fault, this request has met it: see its log")
		}()
		next.ServeHTTP(w, r)
	})
}

// watched knows whether an answer has begun.
type watched struct {
	http.ResponseWriter
	begun bool
}

func (w *watched) WriteHeader(status int) {
	w.begun = w.begun || status >= http.StatusOK || status == http.StatusSwitchingProtocols
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(p []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// log notes each request, without its query and body: they may hold secrets.
func (o Options) log(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := make([]byte, 8)
		_, _ = rand.Read(id)
		began := time.Now()
		w.Header().Set("X-Request-Id", hex.EncodeToString(id))
		// routes see the path without its version
		path := r.URL.Path
		next.ServeHTTP(w, r)
		o.Logger.Debug("request", "id", hex.EncodeToString(id), "method", r.Method, "path", path, "took", time.Since(began))
	})
}

func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Headers", "Origin, X-Requested-With, Content-Type, Accept")
		h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE, PUT, OPTIONS, HEAD")
		next.ServeHTTP(w, r)
	})
}

// headers sets those that every answer of an engine has.
func (o Options) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Server", o.Server)
		h.Set("Api-Version", o.APIVersion().String())
		h.Set("Ostype", "linux")
		h.Set("Docker-Experimental", strconv.FormatBool(o.Experimental))
		next.ServeHTTP(w, r)
	})
}

// version reads the version from the path, and cuts it off for the routes.
func (o Options) version(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, rest, ok := apiversion.CutPath(r.URL.Path)
		if !ok {
			next.ServeHTTP(w, withVersion(r, o.APIVersion()))
			return
		}
		v, err := apiversion.Parse(given)
		switch {
		case err != nil:
			writeError(w, http.StatusBadRequest, err.Error())
		case v.Less(apiversion.Min):
			writeError(w, http.StatusBadRequest, "client version "+given+" is too old. Minimum supported API version is "+apiversion.Min.String()+", please upgrade your client to a newer version")
		case apiversion.Max.Less(v):
			writeError(w, http.StatusBadRequest, "client version "+given+" is too new. Maximum supported API version is "+apiversion.Max.String())
		default:
			r = withVersion(r, v)
			u := *r.URL
			u.Path, u.RawPath = rest, ""
			r.URL = &u
			next.ServeHTTP(w, r)
		}
	})
}
