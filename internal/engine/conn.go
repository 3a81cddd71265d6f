package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Address is where an engine listens.
type Address struct {
	Network string // "tcp" or "unix"
	Target  string // host:port, or the socket's path
}

// ParseAddress reads "host:port", "tcp://host:port" or "unix:///path".
func ParseAddress(s string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return Address{}, fmt.Errorf("engine address %q: the socket's path must be absolute, as in unix:///run/docker.sock", s)
		}
		return Address{"unix", path}, nil
	}
	hostport := strings.TrimPrefix(s, "tcp://")
	if strings.Contains(hostport, "://") {
		return Address{}, fmt.Errorf("engine address %q: only tcp:// and unix:// are known", s)
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return Address{}, fmt.Errorf("engine address %q: write it as host:port: %w", s, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" {
		return Address{}, fmt.Errorf("engine address %q: write it as host:port with a port from 1 to 65535", s)
	}
	// In one form: an address is what an engine is known by.
	return Address{"tcp", net.JoinHostPort(host, strconv.FormatUint(n, 10))}, nil
}

// String is the form users write: host:port for TCP, unix:///path else.
func (a Address) String() string {
	if a.Network == "unix" {
		return "unix://" + a.Target
	}
	return a.Target
}

// DialFunc opens a connection; tests hand in their own.
type DialFunc func(ctx context.Context, network, target string) (net.Conn, error)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	// A peer that went silent (power or network cut) is given up after this
	// long, be the connection idle or with bytes on the way.
	silenceTimeout = 30 * time.Second

	// There are thousands of connections, and most wait: for the next event, or
	// to be closed. A kept one serves who asks again at once; a refresh comes so
	// seldom that it finds none anyway.
	idleTimeout = 10 * time.Second
	readBuffer  = 2 << 10 // bytes; what is longer is read past them
	writeBuffer = 1 << 10
)

// NetworkDial opens plain connections that give up a peer which went silent.
func NetworkDial() DialFunc {
	d := &net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4},
		Control: func(network, _ string, c syscall.RawConn) error {
			if network == "unix" {
				return nil
			}
			var opt error
			err := c.Control(func(fd uintptr) {
				opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silenceTimeout.Milliseconds()))
			})
			return errors.Join(err, opt)
		},
	}
	return d.DialContext
}

// dial opens a connection to the engine, with TLS when it is configured.
func (e *Engine) dial(ctx context.Context) (net.Conn, error) {
	conn, err := e.cfg.Dial(ctx, e.addr.Network, e.addr.Target)
	if err != nil || e.cfg.TLS == nil || e.addr.Network == "unix" {
		return conn, err
	}
	return Secure(ctx, conn, e.addr.Target, e.cfg.TLS)
}

// Secure begins TLS with the host of target on a connection, and closes the
// connection if that fails.
func Secure(ctx context.Context, conn net.Conn, target string, with *tls.Config) (net.Conn, error) {
	cfg := with.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(target)
	}
	// A hijacked connection must stay HTTP/1.1.
	cfg.NextProtos = []string{"http/1.1"}
	secured := tls.Client(conn, cfg)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secured, nil
}

func (e *Engine) newTransport() *http.Transport {
	return &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return e.dial(ctx) },
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       idleTimeout,
		ReadBufferSize:        readBuffer,
		WriteBufferSize:       writeBuffer,
		ExpectContinueTimeout: time.Second,
		// Bodies pass as the engine sent them.
		DisableCompression: true,
	}
}

// requestURL gives the URL of path (with its leading slash) and query. The
// host is a placeholder: the transport always dials the engine's address.
func requestURL(path, rawQuery string) *url.URL {
	return &url.URL{Scheme: "http", Host: "engine", Path: path, RawQuery: rawQuery}
}
