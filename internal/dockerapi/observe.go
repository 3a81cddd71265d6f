package dockerapi

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// Observation is one request, for those who count. It is made when the answer
// begins: how long a stream of events or logs lasts is up to its reader.
type Observation struct {
	Method string
	// Class is the route's path as its router wrote it, "/containers/{name}/json",
	// and "" for a request that no route took: there are few classes, whatever
	// people ask for.
	Class  string
	Status int
	Took   time.Duration // until the answer began
}

// observed tells tell of each request, once.
func observed(tell func(Observation), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := &observer{ResponseWriter: w, tell: tell, began: time.Now(), seen: Observation{Method: r.Method}}
		whole := false
		defer func() {
			if !whole {
				o.answered(http.StatusInternalServerError) // a fault has ended it
				return
			}
			o.answered(http.StatusOK) // nothing was written: that is an empty 200
		}()
		next.ServeHTTP(o, r.WithContext(context.WithValue(r.Context(), classKey{}, &o.seen.Class)))
		whole = true
	})
}

type classKey struct{}

// noteClass says which route has taken the request.
func noteClass(r *http.Request, class string) {
	if seen, ok := r.Context().Value(classKey{}).(*string); ok {
		*seen = class
	}
}

// routeClass is a route's path without the patterns of its variables.
func routeClass(path string) string {
	var b strings.Builder
	for rest := path; ; {
		before, after, found := strings.Cut(rest, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, _ := strings.Cut(after, "}")
		name, _, _ = strings.Cut(name, ":")
		b.WriteString("{" + name + "}")
		rest = after
	}
}

// observer notes the moment in which an answer begins.
type observer struct {
	http.ResponseWriter
	tell  func(Observation)
	began time.Time
	seen  Observation
	told  bool
}

func (o *observer) answered(status int) {
	if o.told {
		return
	}
	o.told = true
	o.seen.Status, o.seen.Took = status, time.Since(o.began)
	o.tell(o.seen)
}

func (o *observer) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		o.answered(status)
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observer) Write(p []byte) (int, error) {
	o.answered(http.StatusOK)
	return o.ResponseWriter.Write(p)
}

// FlushError sends the head of an answer, if nothing else has.
func (o *observer) FlushError() error {
	o.answered(http.StatusOK)
	return http.NewResponseController(o.ResponseWriter).Flush()
}

// Hijack counts as a change of protocol.
func (o *observer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(o.ResponseWriter).Hijack()
	if err == nil {
		o.answered(http.StatusSwitchingProtocols)
	}
	return conn, rw, err
}

// Unwrap is for the deadlines of http.ResponseController.
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }
