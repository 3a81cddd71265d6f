//go:build linux

package ha_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skep/skep/internal/kvstore/storetest"
	"github.com/skep/skep/internal/lab"
	"github.com/skep/skep/internal/lab/labtest"
)

const (
	machines = 3
	// ttl is how long a primary that is silent stays the primary.
	ttl = 5 * time.Second
	// grace is what a take-over may take on top of that.
	grace = 2 * time.Second
	// handedOver is how long it may take until another manager acts when the
	// primary is stopped: it does not wait for the TTL.
	handedOver = ttl - time.Second
	// stopGrace is how long managers let requests end when they are stopped.
	stopGrace = 15 * time.Second
	// tiny is the image that all engines have.
	tiny = "tiny:1"
)

// stage is what all tests of a run share.
type stage struct {
	lab *lab.Lab
	exe string
	dir string // with a short path, for unix sockets
}

// newStage starts the engines, which end with the test.
func newStage(t *testing.T) *stage {
	t.Helper()
	labtest.Skip(t)
	exe := labtest.Binary(t)
	program := filepath.Join(t.TempDir(), "tiny")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "../virtualengine/testdata/tiny")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // it runs where there is no libc
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the image's program: %v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	image := labtest.ImageTar(t, tiny, map[string][]byte{"bin/tiny": text})
	dir, err := os.MkdirTemp("", "ha")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &stage{lab: labtest.Up(t, lab.Config{Exe: exe, Images: []string{image}}, machines), exe: exe, dir: dir}
}

// cluster is a store, the engines that are announced in it, and managers.
type cluster struct {
	*stage
	store    *store
	managers []*manager
	way      *storetest.Relay // of the engines' announcements to the store
}

// newCluster starts n managers. All ends with the test.
func (s *stage) newCluster(t *testing.T, st *store, n int) *cluster {
	t.Helper()
	c := &cluster{stage: s, store: st, way: startRelay(t, s.lab, st.address)}
	dir, err := os.MkdirTemp(s.dir, st.scheme)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range s.lab.Machines() {
		p := &process{lab: s.lab, exe: s.exe, log: filepath.Join(dir, "join-"+m.Name+".log"), args: []string{
			"join", "--advertise", m.TCP(), "--heartbeat", "2s", "--ttl", "60s", c.url(c.way),
		}}
		t.Cleanup(func() { p.stop(t) })
		p.start(t)
	}
	ports := map[string]int{"etcd": 4001, "zk": 4011, "consul": 4021}
	for i := range n {
		c.managers = append(c.managers, c.newManager(t, dir, fmt.Sprint("m", i+1), ports[st.scheme]+i))
	}
	c.awaitAll(t)
	return c
}

func (c *cluster) url(way *storetest.Relay) string {
	return fmt.Sprintf("%s://%s/ha", c.store.scheme, way.Address())
}

// newManager starts a manager that listens on a port of the LAN, too.
func (c *cluster) newManager(t *testing.T, dir, name string, port int) *manager {
	t.Helper()
	m := &manager{name: name, socket: filepath.Join(dir, name+".sock"), advertise: fmt.Sprint("127.0.0.1:", port), way: startRelay(t, c.lab, c.store.address)}
	m.process = process{lab: c.lab, exe: c.exe, log: filepath.Join(dir, name+".log"), args: []string{
		"manage", "--replication", "--advertise", m.advertise, "--replication-ttl", ttl.String(), "--heartbeat", "2s",
		"--shutdown-timeout", stopGrace.String(), "--state-dir", filepath.Join(dir, name+".state"),
		"-H", "unix://" + m.socket, "-H", "tcp://" + m.advertise, c.url(m.way),
	}}
	t.Cleanup(func() {
		m.stop(t)
		if t.Failed() {
			t.Logf("the end of the log of %s:\n%s", name, tail(m.log, 6000))
		}
	})
	m.start(t)
	return m
}

// awaitAll waits until there is a primary which all managers know, and all of
// them see all engines.
func (c *cluster) awaitAll(t *testing.T) (primary *manager, replicas []*manager) {
	t.Helper()
	eventually(t, 40*time.Second, func() error {
		primary, replicas = nil, nil
		knows := ""
		for _, m := range c.managers {
			o, err := m.outlook(t.Context())
			if err != nil {
				return err
			}
			if o.role == "primary" {
				if primary != nil {
					return fmt.Errorf("%s and %s are both primary", primary.name, m.name)
				}
				primary = m
				continue
			}
			replicas = append(replicas, m)
			knows += o.primary
		}
		if primary == nil {
			return errors.New("no manager is primary")
		}
		for _, m := range replicas {
			if o, err := m.outlook(t.Context()); err != nil || o.primary != primary.advertise {
				return fmt.Errorf("%s takes %q for the primary, which is %s", m.name, knows, primary.advertise)
			}
		}
		return nil
	})
	for _, m := range c.managers {
		m.seesEngines(t, machines, 40*time.Second)
	}
	return primary, replicas
}

// own is the name of a container of this cluster: others use the same engines.
func (c *cluster) own(name string) string { return c.store.scheme + "-" + name }

// sweep removes what the cluster has created from all engines.
func (c *cluster) sweep(t *testing.T) {
	t.Helper()
	if err := c.lab.Up(t.Context(), machines); err != nil {
		t.Fatalf("lab: %v", err)
	}
	found := c.onEngines(t)
	slots := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for _, one := range found {
		if !strings.HasPrefix(one.name, c.own("")) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			status, text, err := ask(ctx, one.socket, http.MethodDelete, "/containers/"+one.id+"?force=1&v=1", "")
			if err != nil || status >= 400 && status != http.StatusNotFound && status != http.StatusConflict {
				t.Errorf("remove %s from %s: %d %s %v", one.name, one.engine, status, text, err)
			}
		})
	}
	wg.Wait()
	// It was done behind the managers' back: they see it in a moment.
	for _, m := range c.managers {
		eventually(t, 30*time.Second, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			status, text, err := ask(ctx, m.socket, http.MethodGet, "/containers/json?all=1", "")
			if err != nil || status != http.StatusOK || strings.Contains(string(text), "/"+c.own("")) {
				return fmt.Errorf("%s shows what was removed: %d %.300s %v", m.name, status, text, err)
			}
			return nil
		})
	}
}
