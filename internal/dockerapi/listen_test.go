package dockerapi_test

import (
	"crypto/tls"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/skep/skep/internal/dockerapi"
)

func TestListen_refusals(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	const sentence = " without TLS: anyone who can connect there would rule every engine; use --tlsverify with certificates, a loopback address, a unix socket, or --insecure if you must"
	for _, tc := range []struct{ name, host, want string }{
		{"plaintext to all", "tcp://0.0.0.0:0", "refusing to listen on 0.0.0.0:0" + sentence},
		{"plaintext to all of IPv6", "tcp://[::]:0", "refusing to listen on [::]:0" + sentence},
		{"plaintext without an address", "tcp://:0", "refusing to listen on :0" + sentence},
		{"plaintext to a network", "192.0.2.1:0", "refusing to listen on 192.0.2.1:0" + sentence},
		{"plaintext to a name", "skep.example:0", "refusing to listen on skep.example:0" + sentence},
		{"no port", "tcp://127.0.0.1", `listen address "127.0.0.1": write it as tcp://host:port`},
		{"another protocol", "npipe://x", `unsupported protocol: "npipe": use tcp://, unix:// or fd://`},
		{"nothing", "", `listen address ""`},
		{"a socket without a path", "unix://", "a unix socket needs a path"},
		{"a socket of an abstract name", "unix://@skep", "a unix socket needs a path"},
		{"a file that is no socket", "unix://" + file, "there is a file that is not a socket"},
		{"a link", "unix://" + link, "there is a file that is not a socket"},
		{"a directory", "unix://" + dir, "there is a file that is not a socket"},
		{"a directory that is not there", "unix://" + filepath.Join(dir, "no", "sock"), "no such file or directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := dockerapi.Listen(tc.host, dockerapi.ListenOptions{})
			if err == nil {
				l.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v", err)
			}
		})
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file: %q, %v", text, err)
	}
}

func TestListen_tcp(t *testing.T) {
	for _, tc := range []struct {
		name, host string
		o          dockerapi.ListenOptions
	}{
		{"loopback", "tcp://127.0.0.1:0", dockerapi.ListenOptions{}},
		{"loopback without a scheme", "127.0.0.1:0", dockerapi.ListenOptions{}},
		{"localhost", "tcp://localhost:0", dockerapi.ListenOptions{}},
		{"another loopback address", "tcp://127.1.2.3:0", dockerapi.ListenOptions{}},
		{"all, insecure", "tcp://0.0.0.0:0", dockerapi.ListenOptions{Insecure: true}},
		{"all, with TLS", "tcp://0.0.0.0:0", dockerapi.ListenOptions{TLS: &tls.Config{}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := dockerapi.Listen(tc.host, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		})
	}
}

func TestListen_aPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = dockerapi.Listen(taken.Addr().String(), dockerapi.ListenOptions{})
	if err == nil || strings.Contains(err.Error(), "is Docker already running") {
		t.Errorf("error %v: it is not Docker's port", err)
	}
}

func TestListen_unix(t *testing.T) {
	dir, err := os.MkdirTemp("", "skep") // t.TempDir's are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	l, err := dockerapi.Listen("unix://"+path, dockerapi.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if now := syscall.Umask(0); now != 0 {
		t.Errorf("the umask is %o afterwards", now)
	}

	if _, err := dockerapi.Listen("unix://"+path, dockerapi.ListenOptions{}); err == nil || !strings.Contains(err.Error(), "somebody listens there already") {
		t.Errorf("a live socket: %v", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the live socket was broken: %v", err)
	}
	conn.Close()

	// A process that was killed leaves its socket behind.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	l, err = dockerapi.Listen("unix://"+path, dockerapi.ListenOptions{})
	if err != nil {
		t.Fatalf("a socket left behind: %v", err)
	}
	l.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("its own socket is left behind")
	}

	// A socket that cannot be asked may be alive.
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if _, err := dockerapi.Listen("unix://"+path, dockerapi.ListenOptions{}); err == nil || !strings.Contains(err.Error(), "cannot tell whether somebody listens there") {
		t.Errorf("a socket of another kind: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("it was removed: %v", err)
	}
}
