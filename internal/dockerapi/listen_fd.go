package dockerapi

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// firstInherited is the number of the first socket that a service manager
// hands over.
const firstInherited = 3

// ListenInherited takes over the sockets that a service manager has opened:
// "fd://" all of them, "fd://3" or "fd://NAME" one. Files are all that were
// handed over, in their order, named after their socket units. They are closed:
// a listener holds a copy of its own.
func ListenInherited(host string, files []*os.File, o ListenOptions) ([]net.Listener, error) {
	wanted, ok := strings.CutPrefix(host, "fd://")
	if !ok {
		return nil, fmt.Errorf("%q is no address of an inherited socket: write it as fd://", host)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("listen on %s: no sockets were handed over: start skep by a systemd socket unit, or give another -H", host)
	}
	var listeners []net.Listener
	for i, f := range files {
		if wanted != "" && wanted != "*" && wanted != strconv.Itoa(firstInherited+i) && wanted != f.Name() {
			continue
		}
		l, err := inherited(f, o)
		if err != nil {
			for _, open := range listeners {
				open.Close()
			}
			return nil, fmt.Errorf("listen on %s: %w", host, err)
		}
		listeners = append(listeners, l)
	}
	if len(listeners) == 0 {
		return nil, fmt.Errorf("listen on %s: among the %d sockets that were handed over there is none of that number or name", host, len(files))
	}
	return listeners, nil
}

func inherited(f *os.File, o ListenOptions) (net.Listener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("socket %s cannot be listened on: %w", f.Name(), err)
	}
	f.Close()
	if u, ok := l.(*net.UnixListener); ok {
		// The service manager made the path, and goes on listening there.
		u.SetUnlinkOnClose(false)
		return l, nil
	}
	if o.TLS != nil {
		return tls.NewListener(l, o.TLS), nil
	}
	if addr, ok := l.Addr().(*net.TCPAddr); ok && !o.Insecure && !addr.IP.IsLoopback() {
		l.Close()
		return nil, refusePlaintext(addr.String())
	}
	return l, nil
}

// Exposed says that a listener can be reached from other machines.
func Exposed(l net.Listener) bool {
	addr, ok := l.Addr().(*net.TCPAddr)
	return ok && !addr.IP.IsLoopback()
}
