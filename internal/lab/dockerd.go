//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	bootTimeout   = 30 * time.Second
	engineTimeout = 90 * time.Second // many engines may start at once on few cores
	pingTimeout   = 2 * time.Second
)

// findDockerd returns the absolute path of the engine to use.
func findDockerd(chosen string) (string, error) {
	if chosen == "" {
		chosen = os.Getenv("DOCKERD")
	}
	if chosen != "" {
		path, err := exec.LookPath(chosen)
		if err != nil {
			return "", fmt.Errorf("dockerd: %w", err)
		}
		return filepath.Abs(path)
	}
	// The engine is a system daemon; a user's PATH often lacks its directory.
	for _, path := range []string{"dockerd", "/usr/sbin/dockerd", "/usr/local/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd"} {
		if found, err := exec.LookPath(path); err == nil {
			return filepath.Abs(found)
		}
	}
	return "", errors.New("no dockerd here: install Docker Engine (apt-get install docker.io), or name one in $DOCKERD")
}

// dockerdArgs is the command line of a machine's engine.
func (l layout) dockerdArgs(m *machineState, addr netip.Addr) []string {
	args := []string{
		m.Dockerd,
		"--data-root", l.data(m.Name),
		// What a real machine has in /run; here too it goes with the power.
		"--exec-root", "/run/docker",
		"--pidfile", "/run/docker.pid",
		"--host", "unix:///run/docker.sock",
		"--host", "unix://" + l.socket(m.Name),
		// Plain HTTP, but only the lab's LAN gets there. Engines from 27 on want
		// to hear that this is meant.
		"--host", "tcp://" + netip.AddrPortFrom(addr, enginePort).String(), "--tls=false",
		// The systemd driver would talk to a systemd that is not there.
		"--exec-opt", "native.cgroupdriver=cgroupfs",
		"--cgroup-parent", l.machineCgroup(m.Name),
		"--log-opt", "max-size=1m",
	}
	if m.Overlay2 {
		args = append(args, "--storage-driver", "overlay2")
	}
	for _, label := range m.Labels {
		args = append(args, "--label", label)
	}
	return append(args, m.Flags...)
}

// dockerdEnv is the environment of an engine: not the caller's, which may name
// proxies and other things of the world outside.
func dockerdEnv(dockerd string) []string {
	path := []string{filepath.Dir(dockerd), os.Getenv("PATH"), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return []string{
		"PATH=" + strings.Join(path, ":"),
		"HOME=/root",
		// Without it, an engine in swarm mode asks a registry first: five seconds
		// for each task where there is none.
		"DOCKER_SERVICE_PREFER_OFFLINE_IMAGE=1",
	}
}

// startEngine starts a machine's dockerd and waits until it answers.
func (x *session) startEngine(ctx context.Context, m *machineState, addr netip.Addr) error {
	if err := x.clearStale(m); err != nil {
		return err
	}
	logged := fileSize(x.log(m.Name))
	helper := helperArgs("start", append(m.Init.args(), x.log(m.Name))...)
	if _, err := x.runHelper(ctx, dockerdEnv(m.Dockerd), append(helper, x.dockerdArgs(m, addr)...)...); err != nil {
		return fmt.Errorf("start dockerd: %w", err)
	}
	var err error
	if m.Engine, err = x.findEngine(m.Name, m.Init); err != nil {
		return err
	}
	return x.waitEngine(ctx, m, logged) // says so when it has ended already
}

// waitEngine waits until the engine answers. What it has logged from offset
// logged on belongs to this start.
func (x *session) waitEngine(ctx context.Context, m *machineState, logged int64) error {
	client := engineClient(x.socket(m.Name))
	defer client.CloseIdleConnections()
	up := false
	settled := func() bool {
		up = ping(ctx, client)
		return up || !m.Engine.alive()
	}
	err := poll(ctx, engineTimeout, settled)
	if err == nil && !up {
		m.Engine = process{}
		err = errors.New("it ended")
	}
	if err != nil {
		return fmt.Errorf("dockerd did not come up: %w; the end of %s:\n%s", err, x.log(m.Name), tail(x.log(m.Name), logged))
	}
	return nil
}

// clearStale removes what a dead engine leaves and a new one trips over: pid
// files, whose pids soon are another's in a small machine.
func (l layout) clearStale(m *machineState) error {
	root := filepath.Join("/proc", strconv.Itoa(m.Init.PID), "root")
	stale := []string{l.socket(m.Name), filepath.Join(root, "run/docker.pid")}
	ns := namespaceOf(m.Init.PID, "pid")
	left, err := processes(func(pid int) bool {
		st, err := readStat(pid)
		return err == nil && st.comm == "containerd" && namespaceOf(pid, "pid") == ns
	})
	if err != nil {
		return err
	}
	if len(left) == 0 { // else the new engine adopts it
		stale = append(stale, filepath.Join(root, "run/docker/containerd/containerd.pid"))
	}
	for _, path := range stale {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove stale file: %w", err)
		}
	}
	return nil
}

// runHelper runs the skep executable as helper and returns what it prints.
func (x *session) runHelper(ctx context.Context, env []string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, x.cfg.Exe, args...)
	cmd.Env = env
	cmd.ExtraFiles = []*os.File{x.held}
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			return nil, fmt.Errorf("%s: %w", x.cfg.Exe, errors.Join(err, ctx.Err()))
		}
		return nil, errors.New(strings.TrimPrefix(said, "skep: "))
	}
	return stdout.Bytes(), nil
}

// engineClient speaks HTTP to the engine at socket.
func engineClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
}

func ping(ctx context.Context, client *http.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/_ping", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// tail returns the last lines of a file from offset on.
func tail(path string, offset int64) string {
	const lines, most = 15, 8 << 10
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, max(offset, fileSize(path)-most), most))
	if err != nil {
		return err.Error()
	}
	all := slices.Collect(strings.Lines(string(data)))
	return strings.TrimSpace(strings.Join(all[max(0, len(all)-lines):], ""))
}
