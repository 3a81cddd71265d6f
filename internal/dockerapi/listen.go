package dockerapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ListenOptions say how to open the front door.
type ListenOptions struct {
	TLS *tls.Config // for tcp; nil for plaintext
	// Insecure allows plaintext TCP on addresses other than loopback, where
	// anyone who can connect rules every engine.
	Insecure bool
}

// Listen opens "unix://path", "tcp://host:port" or "host:port".
func Listen(host string, o ListenOptions) (net.Listener, error) {
	if path, ok := strings.CutPrefix(host, "unix://"); ok {
		return listenUnix(path)
	}
	addr := strings.TrimPrefix(host, "tcp://")
	if scheme, _, ok := strings.Cut(addr, "://"); ok {
		return nil, fmt.Errorf("unsupported protocol: %q: use tcp://, unix:// or fd://", scheme)
	}
	return listenTCP(addr, o)
}

func listenTCP(addr string, o ListenOptions) (net.Listener, error) {
	name, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: write it as tcp://host:port: %w", addr, err)
	}
	if o.TLS == nil && !o.Insecure && !loopback(name) {
		return nil, refusePlaintext(addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) && strings.Contains(addr, ":2375") {
			return nil, fmt.Errorf("%w: is Docker already running on this machine? Try using a different port", err)
		}
		return nil, err
	}
	if o.TLS != nil {
		return tls.NewListener(l, o.TLS), nil
	}
	return l, nil
}

func refusePlaintext(addr string) error {
	return fmt.Errorf("refusing to listen on %s without TLS: anyone who can connect there would rule every engine; use --tlsverify with certificates, a loopback address, a unix socket, or --insecure if you must", addr)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// listenUnix takes the place of a socket that nobody listens on any more.
func listenUnix(path string) (net.Listener, error) {
	// A socket of an abstract name, @skep, has no mode: it is open to all.
	if path == "" || path[0] == '@' || path[0] == 0 {
		return nil, errors.New("a unix socket needs a path, as in unix:///run/skep.sock")
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("listen on %s: there is a file that is not a socket; remove it or choose another path", path)
		}
		conn, err := net.DialTimeout("unix", path, time.Second)
		switch {
		case err == nil:
			conn.Close()
			return nil, fmt.Errorf("listen on %s: somebody listens there already", path)
		case !errors.Is(err, syscall.ECONNREFUSED):
			return nil, fmt.Errorf("listen on %s: cannot tell whether somebody listens there already: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove old socket: %w", err)
		}
	}
	// The socket must never be open to all, not even for a moment.
	old := syscall.Umask(0o117)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, err
	}
	if group, err := user.LookupGroup("docker"); err == nil {
		if gid, err := strconv.Atoi(group.Gid); err == nil {
			_ = os.Chown(path, -1, gid) // root only; for others the socket is theirs alone
		}
	}
	return l, nil
}
