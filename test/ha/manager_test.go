//go:build linux

package ha_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/kvstore/storetest"
)

// manager is a `skep manage --replication`, with a way of its own to the store.
type manager struct {
	process
	name, socket, advertise string
	way                     *storetest.Relay
}

// transport opens a connection for each request: none is found half dead.
func transportTo(socket string) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}
}

// ask sends a request to a unix socket; body may be empty.
func ask(ctx context.Context, socket, method, path, body string) (status int, answer []byte, err error) {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://skep"+path, in)
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := transportTo(socket).RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// call asks the manager, which must answer in time.
func (m *manager) call(t *testing.T, within time.Duration, method, path, body string) (status int, answer string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	status, text, err := ask(ctx, m.socket, method, path, body)
	if err != nil {
		t.Fatalf("%s: %s %s within %s: %v\n%s", m.name, method, path, within, err, tail(m.log, 6000))
	}
	return status, string(text)
}

// outlook is what a manager says in /info of itself and of the engines.
type outlook struct {
	role, primary string
	engines       map[string]string // status by name
}

func (m *manager) outlook(ctx context.Context) (outlook, error) {
	o := outlook{engines: map[string]string{}}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, body, err := ask(ctx, m.socket, http.MethodGet, "/info", "")
	if err != nil {
		return o, err
	}
	var info struct{ SystemStatus [][2]string }
	if err := json.Unmarshal(body, &info); err != nil || status != http.StatusOK {
		return o, fmt.Errorf("/info: status %d, %w: %s", status, err, body)
	}
	engine := ""
	for _, row := range info.SystemStatus {
		key, detail := strings.CutPrefix(row[0], "  └ ")
		name, isEngine := strings.CutPrefix(row[0], " ")
		switch {
		case detail && key == "Status":
			o.engines[engine] = row[1]
		case !detail && isEngine:
			engine = name
		case row[0] == "Role":
			o.role = row[1]
		case row[0] == "Primary":
			o.primary = row[1]
		}
	}
	return o, nil
}

// eventually waits until check is content.
func eventually(t *testing.T, within time.Duration, check func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := check()
		took := time.Since(began)
		if err == nil {
			return took
		}
		if took > within {
			t.Fatalf("not within %s: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// becomes waits until the manager is "primary" or "replica".
func (m *manager) becomes(t *testing.T, role string, within time.Duration) time.Duration {
	t.Helper()
	return eventually(t, within, func() error {
		o, err := m.outlook(t.Context())
		if err == nil && o.role != role {
			err = fmt.Errorf("%s is %s of %q", m.name, o.role, o.primary)
		}
		return err
	})
}

// seesEngines waits until so many engines are healthy for the manager.
func (m *manager) seesEngines(t *testing.T, n int, within time.Duration) time.Duration {
	t.Helper()
	return eventually(t, within, func() error {
		o, err := m.outlook(t.Context())
		healthy := 0
		for _, status := range o.engines {
			if status == "Healthy" {
				healthy++
			}
		}
		if err == nil && healthy != n {
			err = fmt.Errorf("%s sees %v", m.name, o.engines)
		}
		return err
	})
}
