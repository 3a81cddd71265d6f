//go:build linux

package service_test

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestMetrics_countWhatTheCLIDoes(t *testing.T) {
	dir := shortDir(t)
	socket, watch := filepath.Join(dir, "s"), filepath.Join(dir, "m")
	p := manage(t, "-H", "unix://"+socket, "--metrics-addr", "unix://"+watch, "nodes://"+engine(t, nil))
	docker := dockerCLI(t, "unix://"+socket)
	docker.awaitEngine()
	docker.prints("", "create", "--network", "none", "busybox")
	docker.fails("", "create", "--network", "none", "-e", "constraint:node==nowhere", "busybox")
	text := get(t, "unix", watch, "/metrics")
	for _, line := range []string{
		`skep_placements_total{outcome="placed"} 1`, `skep_placements_total{outcome="failed"} 1`,
		`skep_engines{state="Healthy"} 1`, `skep_containers{state="running"} 3`, `skep_containers{state="stopped"} 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("there is no %s in\n%s", line, text)
		}
	}
	p.stop()
}
