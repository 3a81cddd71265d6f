package simengine

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// FleetConfig says how many engines there are and where they listen.
type FleetConfig struct {
	Engines    int // 1 to 60,000
	Containers int // over all engines
	// Dir, when given, has a unix socket for each engine. Without it each has an
	// address of its own in 127.66.0.0/16, with a port that the kernel picks.
	Dir     string
	Latency time.Duration // of each answer
	// Labels, when given, says which labels the engine with this number has, as
	// "key=value".
	Labels func(engine int) []string
}

// maxFleet is how many addresses 127.66.0.0/16 has, by far more than one
// process has file descriptors for.
const maxFleet = 60_000

// Fleet is many engines, each with its listener. One of them can lose its power
// (Crash) and get it back (Start) while Run serves them.
type Fleet struct {
	places []*place
}

// Listen makes the engines and opens their listeners, all or none. Run serves
// them.
func Listen(cfg FleetConfig) (*Fleet, error) {
	if cfg.Engines < 1 || cfg.Engines > maxFleet {
		return nil, fmt.Errorf("simulate %d engines: ask for 1 to %d", cfg.Engines, maxFleet)
	}
	f := &Fleet{}
	for i := range cfg.Engines {
		network, address := "tcp", fmt.Sprintf("127.66.%d.%d:0", i/250, i%250+1)
		if cfg.Dir != "" {
			network, address = "unix", filepath.Join(cfg.Dir, "e"+strconv.Itoa(i)+".sock")
		}
		l, err := net.Listen(network, address)
		if err != nil {
			f.close()
			return nil, fmt.Errorf("simulated engine %d of %d: %w", i+1, cfg.Engines, err)
		}
		containers := cfg.Containers / cfg.Engines
		if i < cfg.Containers%cfg.Engines {
			containers++
		}
		engine := Config{Name: "sim-" + strconv.Itoa(i), Containers: containers, Latency: cfg.Latency}
		if cfg.Labels != nil {
			engine.Labels = cfg.Labels(i)
		}
		f.places = append(f.places, newPlace(New(engine), l))
	}
	return f, nil
}

func (f *Fleet) close() {
	for _, p := range f.places {
		p.first.listener.Close()
	}
}

// Addresses gives where the engines listen, as skep's discovery takes it.
func (f *Fleet) Addresses() []string {
	out := make([]string, len(f.places))
	for i, p := range f.places {
		out[i] = p.address
		if p.network == "unix" {
			out[i] = "unix://" + out[i]
		}
	}
	return out
}

// Run serves all engines until ctx is done, and then cuts every connection, as
// engines do that fail. Nothing of it runs when it returns.
func (f *Fleet) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range f.places {
		wg.Go(func() { p.run(ctx) })
	}
}

// serve serves one engine on l until ctx is done, then closes l and every
// connection.
func serve(ctx context.Context, e *Engine, l net.Listener) {
	var conns sync.WaitGroup
	defer conns.Wait()
	server := &http.Server{
		// A request that has taken its connection over is waited for as well. Its
		// connection is still counted when it begins, so this never adds to zero.
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conns.Add(1)
			defer conns.Done()
			e.ServeHTTP(w, r)
		}),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew: // told before Serve takes the next one, and so before the wait
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
		ReadHeaderTimeout: time.Minute,
		MaxHeaderBytes:    1 << 16,
		ErrorLog:          log.New(io.Discard, "", 0), // a client that breaks off is no news
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	_ = server.Serve(l) // it ends with ctx, or with a listener that is closed
}
