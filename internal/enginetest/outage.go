package enginetest

import "net/http"

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete}

// everything is the path of all paths.
const everything = "/{everything:.*}"

// Down makes the engine break every connection that asks something of it, as
// when it cannot be reached, until Up. What it holds stays.
func (e *Engine) Down() {
	for _, m := range methods {
		e.Handle(m, everything, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	}
}

// Up ends Down, and every Handle before it.
func (e *Engine) Up() {
	for _, m := range methods {
		e.Handle(m, everything, nil)
	}
}
