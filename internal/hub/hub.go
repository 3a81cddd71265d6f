package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// What one connection may cost.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeader         = 8 << 10 // bytes
	maxConnections    = 4096    // more wait to be accepted
	// shutdownGrace is how long requests under way may go on after a stop.
	shutdownGrace = 5 * time.Second
)

// DefaultRate is how many requests a second one client may make, and four
// times as many at once: enough for thousands of engines behind one address.
const DefaultRate = 100.0

// Config says what a hub is made of.
type Config struct {
	Listen []string // "host:port" each, one at least
	Data   string   // the file that holds tokens and addresses; made if it is missing

	TLSCert, TLSKey string // files in PEM form; both or none
	// Insecure allows plaintext on addresses other than loopback, where anyone
	// on the way reads the tokens.
	Insecure bool

	// Reload asks to read certificate and key again; nil for never. The sender
	// never closes it. They are read when they change, too.
	Reload <-chan os.Signal

	Limits Limits
	Rate   float64 // requests a second from one client; 0 is DefaultRate
	Logger *slog.Logger
}

// Hub is a token service with its file and its listeners open.
type Hub struct {
	cfg       Config
	store     *store
	certs     *certificates // nil without TLS
	listeners []net.Listener
}

// New opens the file and the listeners. Run has to follow: it closes
// both.
func New(cfg Config) (*Hub, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Rate <= 0 {
		cfg.Rate = DefaultRate
	}
	h := &Hub{cfg: cfg}
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return nil, errors.New("--tlscert and --tlskey go together: give both or none")
	}
	var err error
	if cfg.TLSCert != "" {
		if h.certs, err = loadCertificates(cfg.TLSCert, cfg.TLSKey); err != nil {
			return nil, err
		}
	}
	if len(cfg.Listen) == 0 {
		return nil, errors.New("no address to listen on: give one with --listen")
	}
	for _, addr := range cfg.Listen {
		l, err := h.listen(addr)
		if err != nil {
			h.closeListeners()
			return nil, err
		}
		h.listeners = append(h.listeners, l)
	}
	if h.store, err = openStore(cfg.Data, cfg.Limits); err != nil {
		h.closeListeners()
		return nil, err
	}
	if err := h.store.revive(time.Now()); err != nil {
		h.closeListeners()
		return nil, errors.Join(fmt.Errorf("write the hub's file: %w", err), h.store.db.Close())
	}
	return h, nil
}

func (h *Hub) closeListeners() {
	for _, l := range h.listeners {
		l.Close()
	}
}

func (h *Hub) listen(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("--listen %q: write host:port: %w", addr, err)
	}
	open := h.certs == nil && !loopback(host)
	if open && !h.cfg.Insecure {
		return nil, fmt.Errorf("refusing to listen on %s without TLS: anyone on the way could read the tokens and change the clusters; give --tlscert and --tlskey, a loopback address, or --insecure if you must", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	if open {
		h.cfg.Logger.Warn("this address is served without TLS: anyone on the way can read the tokens and change the clusters", "on", l.Addr().String())
	}
	l = netutil.LimitListener(l, maxConnections)
	if h.certs != nil {
		return tls.NewListener(l, &tls.Config{
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"h2", "http/1.1"},
			GetCertificate: h.certs.get,
		}), nil
	}
	return l, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// URLs are where the hub can be reached, in the order of Config.Listen.
func (h *Hub) URLs() []string {
	scheme := "http://"
	if h.certs != nil {
		scheme = "https://"
	}
	var urls []string
	for _, l := range h.listeners {
		urls = append(urls, scheme+l.Addr().String())
	}
	return urls
}

// Run serves until ctx is done, lets requests under way end for a while, and
// closes listeners and file. It may be called once.
func (h *Hub) Run(ctx context.Context) error {
	server := &http.Server{
		Handler:           newFront(h.store, h.cfg.Rate, h.cfg.Logger),
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(h.cfg.Logger.Handler(), slog.LevelDebug),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving, upkeep sync.WaitGroup
	upkeep.Go(func() { h.store.sweepLoop(ctx, h.cfg.Logger) })
	if h.certs != nil {
		upkeep.Go(func() { h.certs.follow(ctx, h.cfg.Reload, h.cfg.Logger) })
	}
	errs := make(chan error, len(h.listeners)) // room for all: nobody waits
	for _, l := range h.listeners {
		serving.Go(func() {
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
	if server.Shutdown(grace) != nil {
		server.Close()
	}
	serving.Wait()
	cancel()
	upkeep.Wait()
	// Close waits for transactions of requests that outlived the grace.
	return errors.Join(err, h.store.db.Close())
}
