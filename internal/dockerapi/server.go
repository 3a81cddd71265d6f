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

	"github.com/skep/skep/internal/rawstream"
)

const (
	readHeaderTimeout = time.Minute
	idleTimeout       = 5 * time.Minute
	maxHeader         = 1 << 20 // bytes; registry credentials travel in headers
	defaultGrace      = 10 * time.Second
)

// Server serves one handler on any number of listeners. The handler can be
// exchanged while it serves: requests under way keep the one they began with.
type Server struct {
	// Grace is how long requests under way may go on after a stop; set it
	// before Serve. Questions, which logs and events are too, and raw streams
	// are told to end after a fifth of it.
	Grace time.Duration

	handler atomic.Pointer[http.Handler]
	logger  *slog.Logger
	serving underWay
}

// NewServer makes a server for h.
func NewServer(h http.Handler, logger *slog.Logger) *Server {
	s := &Server{Grace: defaultGrace, logger: logger}
	s.Swap(h)
	return s
}

// Swap exchanges the handler.
func (s *Server) Swap(h http.Handler) { s.handler.Store(&h) }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.serving.enter()
	defer s.serving.leave()
	if r.Method == http.MethodGet {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(rawstream.StopOf(r), cancel)()
		r = r.WithContext(ctx)
	}
	(*s.handler.Load()).ServeHTTP(w, r)
}

// Serve answers on all listeners until ctx is done, then lets requests under
// way end for a while and closes everything. It closes the listeners.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	// Streams end when the server stops, orders only when its time is over.
	base, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	streaming, cancel := context.WithCancel(base)
	defer cancel()
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return rawstream.WithStop(base, streaming) },
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
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), s.Grace)
	defer stop()
	// Events and logs would use up the grace of all others.
	streams := time.AfterFunc(s.Grace/5, cancel)
	defer streams.Stop()
	if serr := server.Shutdown(grace); serr != nil {
		server.Close()
	}
	wg.Wait()
	// Connections that were taken over are not the HTTP server's any more.
	if !s.serving.wait(grace) {
		end()
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), lastGrace)
		defer stop()
		if !s.serving.wait(last) {
			s.logger.Warn("stopped with requests under way", "waited", s.Grace)
		}
	}
	return err
}

// lastGrace is for streams that were told to end when the deadline had passed.
const lastGrace = time.Second

// underWay counts requests, those with a connection of their own too.
type underWay struct {
	mu   sync.Mutex
	n    int           // guarded by mu
	idle chan struct{} // closed by leave when n becomes 0; nil if nobody waits; guarded by mu
}

func (u *underWay) enter() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n++
}

func (u *underWay) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 && u.idle != nil {
		close(u.idle)
		u.idle = nil
	}
}

// wait says whether all requests have ended before ctx is done.
func (u *underWay) wait(ctx context.Context) bool {
	u.mu.Lock()
	if u.n == 0 {
		u.mu.Unlock()
		return true
	}
	if u.idle == nil {
		u.idle = make(chan struct{})
	}
	idle := u.idle
	u.mu.Unlock()
	select {
	case <-idle:
		return true
	case <-ctx.Done():
		return false
	}
}
