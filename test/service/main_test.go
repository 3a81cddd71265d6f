//go:build linux

package service_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/simengine"
)

// patience is for what takes a moment on a machine that is busy.
const patience = 30 * time.Second

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv(pluginSocket) != "" {
		return m.Run() // a child that is a plugin, and is killed
	}
	dir, err := os.MkdirTemp("", "skep-service")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if os.Getenv(skepBin) == "" {
		path := filepath.Join(dir, "skep")
		if out, err := exec.Command("go", "build", "-o", path, "github.com/skep/skep/cmd/skep").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build skep: %v\n%s", err, out)
			return 1
		}
		os.Setenv(skepBin, path) // for children that are tests themselves, too
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

const skepBin = "SKEP_BIN"

// tool finds a program of the machine; the test is skipped where it is not.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: %v", name, err)
	}
	t.Skipf("%s is not installed: %v", name, err)
	return ""
}

// engine opens a simulated engine with some containers, sim-c0 and on. Wrap
// sees its requests; nil for nobody.
func engine(t *testing.T, wrap func(http.Handler) http.Handler) (address string) {
	t.Helper()
	var h http.Handler = simengine.New(simengine.Config{Name: "sim", Containers: 3})
	if wrap != nil {
		h = wrap(h)
	}
	return serve(t, httptest.NewUnstartedServer(h), (*httptest.Server).Start)
}

// engineTLS opens one behind TLS.
func engineTLS(t *testing.T, cfg *tls.Config) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(simengine.New(simengine.Config{Name: "sim", Containers: 3}))
	server.TLS = cfg
	return serve(t, server, (*httptest.Server).StartTLS)
}

func serve(t *testing.T, server *httptest.Server, start func(*httptest.Server)) (address string) {
	t.Helper()
	server.Config.ErrorLog = nowhere()
	start(server)
	t.Cleanup(func() {
		server.CloseClientConnections() // events are followed for ever
		server.Close()
	})
	return server.Listener.Addr().String()
}

// nowhere is for servers whose clients break off.
func nowhere() *log.Logger { return log.New(io.Discard, "", 0) }

// cli is a docker CLI, pointed at one address.
type cli struct {
	t    *testing.T
	path string
	env  []string
}

// dockerCLI talks to host, a DOCKER_HOST.
func dockerCLI(t *testing.T, host string, env ...string) cli {
	t.Helper()
	c := cli{t: t, path: tool(t, "docker"), env: append(env, "DOCKER_HOST="+host, "DOCKER_CONFIG="+t.TempDir(), "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir())}
	return c
}

// run gives what the CLI prints, and its error.
func (c cli) run(args ...string) (string, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// prints fails the test unless the CLI succeeds and prints want.
func (c cli) prints(want string, args ...string) {
	c.t.Helper()
	if out, err := c.run(args...); err != nil || !strings.Contains(out, want) {
		c.t.Errorf("docker %s: %v, want %q in\n%s", strings.Join(args, " "), err, want, out)
	}
}

// fails fails the test unless the CLI fails and prints want.
func (c cli) fails(want string, args ...string) {
	c.t.Helper()
	if out, err := c.run(args...); err == nil || !strings.Contains(out, want) {
		c.t.Errorf("docker %s: %v, want a failure and %q in\n%s", strings.Join(args, " "), err, want, out)
	}
}

// awaitEngine waits until skep has read the engine behind it.
func (c cli) awaitEngine() {
	c.t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, err := c.run("ps", "-aq")
		if err == nil && len(strings.Fields(out)) >= 3 {
			return
		}
		if time.Now().After(until) {
			c.t.Fatalf("no containers: %v\n%s", err, out)
		}
	}
}

// get asks skep, without the docker CLI.
func get(t *testing.T, network, addr, path string) string {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}}}
	resp, err := client.Get("http://skep" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	return string(body)
}
