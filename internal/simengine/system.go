package simengine

import (
	"net/http"
	"time"
)

func ping(w http.ResponseWriter) {
	h := w.Header()
	h["Api-Version"] = []string{apiVersion}
	h["Ostype"] = []string{"linux"}
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["Content-Length"] = []string{"2"}
	_, _ = w.Write([]byte("OK")) // a client that has gone needs no answer
}

func (e *Engine) version(w http.ResponseWriter) {
	answer(w, http.StatusOK, map[string]any{
		"Version": serverVersion, "ApiVersion": apiVersion, "MinAPIVersion": minAPIVersion,
		"Os": "linux", "Arch": "amd64", "KernelVersion": "6.1.0-sim", "GoVersion": "go1.26",
		"Platform":   map[string]string{"Name": "simulated engine"},
		"Components": []map[string]any{{"Name": "Engine", "Version": serverVersion}},
	})
}

func (e *Engine) info(w http.ResponseWriter) {
	e.mu.Lock()
	counts := map[state]int{}
	for _, c := range e.containers {
		counts[c.state]++
	}
	total, images := len(e.containers), len(e.images)
	e.mu.Unlock()
	labels := e.cfg.Labels
	if labels == nil {
		labels = []string{}
	}
	answer(w, http.StatusOK, map[string]any{
		"ID": e.id, "Name": e.cfg.Name, "Labels": labels,
		"Containers": total, "ContainersRunning": counts[running], "ContainersPaused": counts[paused],
		"ContainersStopped": counts[exited] + counts[created], "Images": images,
		"NCPU": cpus, "MemTotal": memory, "Driver": "overlay2",
		"ServerVersion": serverVersion, "OSType": "linux", "OperatingSystem": "Simulated Linux",
		"Architecture": "x86_64", "KernelVersion": "6.1.0-sim", "DockerRootDir": "/var/lib/docker",
		"SystemTime": time.Now().Format(time.RFC3339Nano), "CgroupDriver": "systemd", "CgroupVersion": "2",
		"MemoryLimit": true, "SwapLimit": true, "PidsLimit": true, "CPUShares": true, "CPUSet": true,
		"CpuCfsPeriod": true, "CpuCfsQuota": true, "IPv4Forwarding": true,
		"Plugins": map[string][]string{"Volume": {"local"}, "Network": {"bridge", "host", "null"}, "Log": {"json-file"}},
		"Swarm":   map[string]string{"LocalNodeState": "inactive"},
	})
}
