//go:build linux

package virtualengine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/skep/skep/internal/lab"
)

// manager is a `skep manage` on the lab's LAN.
type manager struct {
	stage  *stage
	args   []string
	socket string
	log    string
	cmd    *exec.Cmd
	done   chan struct{}
}

// startManager starts a manager of the lab's engines, or with other flags and
// another discovery if args say so, and waits until it listens.
func (s *stage) startManager(name string, args ...string) (*manager, error) {
	m := &manager{stage: s, args: args, socket: filepath.Join(s.Dir, name+".sock"), log: filepath.Join(s.Dir, name+".log")}
	return m, m.start()
}

func (m *manager) start() error {
	args := append([]string{"manage", "-H", "unix://" + m.socket, "--state-dir", m.socket + ".state"}, m.args...)
	if len(m.args) == 0 || strings.HasPrefix(m.args[len(m.args)-1], "-") {
		args = append(args, lab.Discovery(m.stage.lab.Machines()))
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	// Not a test's context: it lasts until stop.
	m.cmd = m.stage.lab.Command(context.Background(), lab.Hub, m.stage.Skep, args...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		return err
	}
	m.done = make(chan struct{})
	go func() {
		defer close(m.done)
		_ = m.cmd.Wait() // the state says it
	}()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := m.get("/_ping")
		if err == nil {
			return nil
		}
		select {
		case <-m.done:
			return fmt.Errorf("the manager ended: %s\n%s", m.cmd.ProcessState, m.logFrom(0))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the manager does not listen: %w\n%s", err, m.logFrom(0))
		}
	}
}

func (m *manager) host() string { return "unix://" + m.socket }

// stop ends the manager as a service manager does, and tells when it did not
// end well, or had a fault while it ran.
func (m *manager) stop() error {
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-m.done:
	case <-time.After(20 * time.Second):
		_ = m.cmd.Process.Kill()
		<-m.done
		return errors.New("the manager did not end within 20 s of SIGTERM")
	}
	if code := m.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the manager ended with %s\n%s", m.cmd.ProcessState, m.logFrom(0))
	}
	return m.faults()
}

// faults says what must never be in a manager's log.
func (m *manager) faults() error {
	log, err := os.ReadFile(m.log)
	if err != nil {
		return err
	}
	for _, bad := range []string{"DATA RACE", "panic:", "fault in a request", "fatal error:"} {
		if at := bytes.Index(log, []byte(bad)); at >= 0 {
			return fmt.Errorf("the manager's log has %q:\n%s", bad, log[at:min(len(log), at+4000)])
		}
	}
	return nil
}

func (m *manager) logSize() int64 {
	info, err := os.Stat(m.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// logFrom is the end of what the manager has logged since offset.
func (m *manager) logFrom(offset int64) string {
	const most = 6000
	log, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	log = log[min(int64(len(log)), offset):]
	return string(log[max(0, len(log)-most):])
}

// manager starts another manager for a test.
func (u *user) manager(name string, args ...string) *manager {
	u.t.Helper()
	m, err := u.stage.startManager(name, args...)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		if err := m.stop(); err != nil {
			u.t.Error(err)
		}
	})
	return m
}

// client speaks HTTP to the manager.
func (m *manager) client() *http.Client {
	return &http.Client{Timeout: commandTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", m.socket)
		},
	}}
}

// get asks the manager's API.
func (m *manager) get(path string) ([]byte, error) {
	resp, err := m.client().Get("http://skep" + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 400 {
		err = fmt.Errorf("GET %s: %s: %s", path, resp.Status, body)
	}
	return body, err
}

// post sends JSON to the manager's API and gives the answer's status and body.
func (u *user) post(path, body string) (status int, answer string) {
	u.t.Helper()
	return u.request(http.MethodPost, path, strings.NewReader(body))
}

// call asks the manager's API without a body.
func (u *user) call(method, path string) (status int, answer string) {
	u.t.Helper()
	return u.request(method, path, nil)
}

func (u *user) request(method, path string, body io.Reader) (status int, answer string) {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.t.Context(), method, "http://skep"+path, body)
	if err != nil {
		u.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := u.boss.client().Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// engineInfo is one engine's part of `docker info`.
type engineInfo struct {
	name, addr string
	rows       map[string]string // Status, Error, ID, …
}

// engines reads the engines from `docker info`, by address.
func (m *manager) engines() (map[string]engineInfo, error) {
	body, err := m.get("/info")
	if err != nil {
		return nil, err
	}
	var info struct{ SystemStatus [][2]string }
	if err := json.Unmarshal(body, &info); err != nil {
		return nil, err
	}
	engines := map[string]engineInfo{}
	var addr string
	for _, row := range info.SystemStatus {
		if key, ok := strings.CutPrefix(row[0], "  └ "); ok {
			engines[addr].rows[key] = row[1]
		} else if name, ok := strings.CutPrefix(row[0], " "); ok {
			addr = row[1]
			engines[addr] = engineInfo{name: name, addr: addr, rows: map[string]string{}}
		}
	}
	return engines, nil
}

// waitEngines waits until n engines are healthy.
func (s *stage) waitEngines(m *manager, n int) (map[string]engineInfo, error) {
	deadline := time.Now().Add(40 * time.Second)
	for {
		engines, err := m.engines()
		if err != nil {
			return nil, err
		}
		healthy := 0
		for _, e := range engines {
			if e.rows["Status"] == "Healthy" {
				healthy++
			}
		}
		if healthy == n {
			return engines, nil
		}
		if time.Now().After(deadline) {
			return engines, fmt.Errorf("%d engines are healthy, not %d: %v\n%s", healthy, n, engines, m.logFrom(0))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// awaitEngines is waitEngines for a test.
func (u *user) awaitEngines(n int) {
	u.t.Helper()
	if _, err := u.stage.waitEngines(u.boss, n); err != nil {
		u.t.Fatal(err)
	}
}

// engine is what `docker info` says of a machine's engine.
func (u *user) engine(machine string) engineInfo {
	u.t.Helper()
	engines, err := u.boss.engines()
	if err != nil {
		u.t.Fatal(err)
	}
	for _, m := range u.stage.lab.Machines() {
		if m.Name == machine {
			return engines[m.TCP()]
		}
	}
	u.t.Fatalf("no machine %s", machine)
	return engineInfo{}
}
