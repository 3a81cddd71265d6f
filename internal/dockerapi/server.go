package dockerapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readHeaderTimeout = time.Minute
	idleTimeout       = 5 * time.Minute
	maxHeader         = 1 << 20 // bytes; registry credentials travel in headers
	// shutdownGrace is how long requests under way may go on after a stop.
	shutdownGrace = 10 * time.Second
)

// Server serves one handler on any number of listeners. The handler can be
// exchanged while it serves: requests under way keep the one they began with.
type Server struct {
	handler atomic.Pointer[http.Handler]
	logger  *slog.Logger
}

// NewServer makes a server for h.
func NewServer(h http.Handler, logger *slog.Logger) *Server {
	s := &Server{logger: logger}
	s.Swap(h)
	return s
}

// Swap exchanges the handler.
func (s *Server) Swap(h http.Handler) { s.handler.Store(&h) }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*s.handler.Load()).ServeHTTP(w, r)
}

// Serve answers on all listeners until ctx is done, then lets requests under
// way end for a while and closes everything. It closes the listeners.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	// Streams end when the server stops; base tells them.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return context.WithValue(base, stopKey{}, base) },
		ErrorLog:    slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	errs := make(chan error, len(listeners))
	var wg sync.WaitGroup
	for _, l := range listeners {
		wg.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				errs <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-errs:
	}
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer stop()
	// Event streams and logs would use up the grace of all others.
	time.AfterFunc(shutdownGrace/5, cancel)
	if serr := server.Shutdown(grace); serr != nil {
		server.Close()
	}
	wg.Wait()
	return err
}

type stopKey struct{}

// stopOf is done when the server stops. A request's own context is no measure
// of a hijacked connection: it ends with the first end of input, and attached
// clients end theirs long before they have read all output.
func stopOf(r *http.Request) context.Context {
	if stop, ok := r.Context().Value(stopKey{}).(context.Context); ok {
		return stop
	}
	return context.WithoutCancel(r.Context())
}
