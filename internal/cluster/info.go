package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/version"
)

// ServerVersion is how skep calls itself where an engine gives its version.
const ServerVersion = "skep/" + version.Version

// Info is the cluster described as one engine. What is a number is the sum;
// what is a yes or no is what one may rely on. The engines stand in
// SystemStatus, which the CLI prints line by line.
func (c *Cluster) Info() system.Info {
	info, engines := c.summary()
	for _, s := range engines {
		info.SystemStatus = append(info.SystemStatus, s.rows...)
	}
	return info
}

// WriteInfo writes what Info gives as JSON. What stands there of each engine is
// encoded already: of a thousand engines it is half a megabyte.
func (c *Cluster) WriteInfo(w io.Writer) error {
	info, engines := c.summary()
	out := c.answers.begin(w)
	defer c.answers.end(out)
	// SystemStatus goes last, so that the engines' rows can be added behind it.
	head, err := json.Marshal(struct {
		*system.Info
		SystemStatus [][2]string
	}{&info, info.SystemStatus})
	if err != nil {
		return fmt.Errorf("encode info: %w", err)
	}
	const end = "]}"
	_, _ = out.Write(head[:len(head)-len(end)]) // Flush tells what went wrong
	for _, s := range engines {
		_ = out.WriteByte(',')
		_, _ = out.Write(s.encoded)
	}
	_, _ = out.WriteString(end + "\n")
	return out.Flush()
}

// summary is Info without the engines' rows, and what these are to be made of.
func (c *Cluster) summary() (system.Info, []*engineStatus) {
	hostname, _ := os.Hostname()
	info := system.Info{
		ID: "skep-" + hostname, Name: hostname, ServerVersion: ServerVersion,
		OSType: "linux", OperatingSystem: runtime.GOOS, Architecture: machine(runtime.GOARCH), KernelVersion: kernelVersion(),
		MemoryLimit: true, SwapLimit: true, CPUCfsPeriod: true, CPUCfsQuota: true, CPUShares: true, CPUSet: true,
		PidsLimit: true, IPv4Forwarding: true, OomKillDisable: true,
		HTTPProxy: os.Getenv("http_proxy"), HTTPSProxy: os.Getenv("https_proxy"), NoProxy: os.Getenv("no_proxy"),
		NEventsListener: c.events.count(), NGoroutines: runtime.NumGoroutine(),
		SystemTime:     time.Now().Format(time.RFC3339Nano),
		RegistryConfig: &registry.ServiceConfig{},
		Swarm:          swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive},
		Labels:         []string{},
		// It is a word for clients, as in standalone Swarm.
		ExperimentalBuild: c.cfg.Experimental,
	}
	members := c.all()
	engines := make([]*engineStatus, len(members))
	for i, m := range members {
		s := m.info.get(m, c.engineStatus)
		info.Containers += s.containers
		info.ContainersRunning += s.running
		info.ContainersPaused += s.paused
		info.ContainersStopped += s.stopped
		info.Images += s.images
		info.NCPU += int(s.cpu / nanoCPU)
		info.MemTotal += s.memory
		engines[i] = s
	}
	info.SystemStatus = append(c.roleRows(), [][2]string{
		{"Strategy", c.cfg.Policy.Strategy()},
		{"Filters", strings.Join(c.cfg.Policy.Filters(), ", ")},
		{"Nodes", strconv.Itoa(len(members))},
	}...)
	return info, engines
}

// roleRows say who this manager is among others, and who leads if it does not.
func (c *Cluster) roleRows() [][2]string {
	role, primary := "primary", ""
	if c.cfg.Role != nil {
		role, primary = c.cfg.Role()
	}
	rows := [][2]string{{"Role", role}}
	if role != "primary" {
		if primary == "" {
			primary = "(unknown)"
		}
		rows = append(rows, [2]string{"Primary", primary})
	}
	return rows
}

// infoCache keeps an engine's part of Info until it changes: dashboards ask
// often, and of a thousand engines few have changed in between.
type infoCache struct {
	mu     sync.Mutex
	view   uint64        // of the node that made was made of; guarded by mu
	status engine.Status // likewise
	made   *engineStatus // nil when there is none; never changed; guarded by mu
}

// get gives the engine's part, made anew when something has changed since.
func (i *infoCache) get(m *member, make func(*member) engineStatus) *engineStatus {
	// Read before what they stand for: a change in between is then seen later.
	view, status := m.view.current(), m.Status()
	i.mu.Lock()
	defer i.mu.Unlock()
	same := i.made != nil && view == i.view && status.Err == nil && i.status.Err == nil &&
		status.State == i.status.State && status.Updated.Equal(i.status.Updated)
	if !same {
		made := make(m)
		i.view, i.status, i.made = view, status, &made
	}
	return i.made
}

// engineStatus is one engine's part of Info.
type engineStatus struct {
	containers, running, paused, stopped, images int
	cpu, memory                                  int64
	rows                                         [][2]string
	encoded                                      []byte // rows, as JSON without the outer brackets
}

func (c *Cluster) engineStatus(m *member) engineStatus {
	var s engineStatus
	id, status := m.Identity(), m.Status()
	row := func(key, value string) { s.rows = append(s.rows, [2]string{"  └ " + key, value}) }
	if id == nil || status.State == engine.Pending {
		s.rows = append(s.rows, [2]string{" (unknown)", m.Address().String()})
		row("Status", status.State.String())
	} else {
		s.count(m.Engine)
		node := m.placementNode()
		s.cpu, s.memory = c.cfg.Policy.Capacity(node)
		s.rows = append(s.rows, [2]string{" " + id.Name, m.Address().String()})
		row("ID", id.ID)
		row("Status", status.State.String())
		row("Containers", s.containerCount(m.Answers()))
		row("Reserved CPUs", fmt.Sprintf("%s / %s", cores(node.UsedCPU), cores(s.cpu)))
		row("Reserved Memory", fmt.Sprintf("%s / %s", units.BytesSize(float64(node.UsedMemory)), units.BytesSize(float64(s.memory))))
		row("Labels", strings.Join(id.LabelList(), ", "))
	}
	if status.Err != nil {
		row("Error", oneLine(status.Err.Error()))
	}
	row("UpdatedAt", status.Updated.UTC().Format(time.RFC3339))
	if id != nil {
		row("ServerVersion", id.ServerVersion)
	}
	s.encoded = encodeRows(s.rows)
	return s
}

func encodeRows(rows [][2]string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	must(enc.Encode(rows))
	return bytes.Clone(b.Bytes()[len("[") : b.Len()-len("]\n")])
}

func (s *engineStatus) count(e *engine.Engine) {
	for _, found := range e.Containers() {
		s.containers++
		switch st := &found.State; {
		case st.Paused:
			s.paused++
		case st.Running || st.Restarting:
			s.running++
		default:
			s.stopped++
		}
	}
	for _, img := range e.Images().All {
		if slices.ContainsFunc(img.RepoTags, func(tag string) bool { return tag != "<none>:<none>" }) {
			s.images++
		}
	}
}

func (s *engineStatus) containerCount(answers bool) string {
	if !answers {
		return fmt.Sprint(s.containers)
	}
	return fmt.Sprintf("%d (%d Running, %d Paused, %d Stopped)", s.containers, s.running, s.paused, s.stopped)
}

// cores writes nano-CPUs as a number of processors.
func cores(nano int64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", float64(nano)/nanoCPU), "0"), ".")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// foundVersion is kept until an engine changes: every request asks for it.
type foundVersion struct {
	version apiversion.Version
	at      uint64 // changes when the search began
}

// APIVersion is the newest version that every engine of the cluster speaks, as
// far as skep does.
func (c *Cluster) APIVersion() apiversion.Version {
	at := c.changes.Load()
	if found := c.version.Load(); found != nil && found.at == at {
		return found.version
	}
	v := apiversion.Max
	for _, m := range c.all() {
		if id := m.Identity(); id != nil && m.State() != engine.Pending && id.API.Less(v) {
			v = id.API
		}
	}
	c.version.Store(&foundVersion{v, at})
	return v
}

// machine is the name that uname gives to Go's architectures.
func machine(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	default:
		return goarch
	}
}

func kernelVersion() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
