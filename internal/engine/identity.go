package engine

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/skep/skep/internal/apiversion"
)

// Identity is what an engine says of itself. It is immutable.
type Identity struct {
	ID     string // the engine's own, the same at any address
	Name   string // its host's name
	IP     string // of its address; "" for a unix socket
	Labels map[string]string
	CPUs   int
	Memory int64 // bytes

	ServerVersion   string
	API, MinAPI     apiversion.Version
	OSType          string // linux, windows
	OperatingSystem string
	Architecture    string
	KernelVersion   string
	StorageDriver   string

	// Skew is the engine's clock minus ours, 0 when less than two seconds.
	Skew time.Duration
	// engineTime is the engine's clock when it was asked.
	engineTime time.Time
}

type infoAnswer struct {
	ID              string
	Name            string
	Labels          []string
	NCPU            int
	MemTotal        int64
	ServerVersion   string
	OSType          string
	OperatingSystem string
	Architecture    string
	KernelVersion   string
	Driver          string
	DockerRootDir   string
	SystemTime      string
}

type versionAnswer struct {
	APIVersion    string `json:"ApiVersion"`
	MinAPIVersion string
	Components    []struct{ Name string }
}

// builtinLabels are the constraint keys that every engine has; a label of the
// engine's own cannot stand in for them.
const (
	labelStorageDriver   = "storagedriver"
	labelKernelVersion   = "kernelversion"
	labelOperatingSystem = "operatingsystem"
	labelOSType          = "ostype"
	labelNode            = "node"
)

// askIdentity asks the engine who it is and whether it can be used.
func (e *Engine) askIdentity(ctx context.Context) (*Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	var version versionAnswer
	if err := e.getUnversioned(ctx, "/version", &version); err != nil {
		return nil, err
	}
	asked := time.Now()
	var info infoAnswer
	if err := e.getUnversioned(ctx, "/info", &info); err != nil {
		return nil, err
	}
	id, err := newIdentity(info, version)
	if err != nil {
		return nil, fmt.Errorf("engine at %s: %w", e.addr, err)
	}
	id.IP = e.resolveIP(ctx)
	answered := time.Now()
	id.engineTime, id.Skew = clock(info.SystemTime, asked, answered)
	return id, nil
}

func newIdentity(info infoAnswer, version versionAnswer) (*Identity, error) {
	if info.NCPU <= 0 || info.MemTotal <= 0 || isManager(info.ServerVersion) {
		return nil, fmt.Errorf("cannot get resources for this engine, make sure it is a Docker Engine, not a cluster manager")
	}
	if version.isPodman() {
		info.ID = podmanID(info)
	}
	if info.ID == "" {
		return nil, fmt.Errorf("the engine has no ID; an engine of API %s or later is needed", apiversion.Min)
	}
	api, err := apiversion.Parse(version.APIVersion)
	if err != nil {
		return nil, err
	}
	minAPI := apiversion.Min
	if version.MinAPIVersion != "" {
		if minAPI, err = apiversion.Parse(version.MinAPIVersion); err != nil {
			return nil, err
		}
	}
	if api.Less(apiversion.Min) {
		return nil, fmt.Errorf("its API version %s is older than %s, the oldest that skep speaks; upgrade the engine", api, apiversion.Min)
	}
	id := &Identity{
		ID: info.ID, Name: info.Name, CPUs: info.NCPU, Memory: info.MemTotal,
		ServerVersion: info.ServerVersion, API: api, MinAPI: minAPI,
		OSType: info.OSType, OperatingSystem: info.OperatingSystem, Architecture: info.Architecture,
		KernelVersion: info.KernelVersion, StorageDriver: info.Driver,
	}
	id.Labels, err = engineLabels(info)
	return id, err
}

// isManager tells skep's own kind, and standalone Swarm's, from engines.
func isManager(serverVersion string) bool {
	return strings.HasPrefix(serverVersion, "skep/") || strings.HasPrefix(serverVersion, "swarm/")
}

func (v *versionAnswer) isPodman() bool {
	return slices.ContainsFunc(v.Components, func(c struct{ Name string }) bool { return c.Name == "Podman Engine" })
}

// podmanID stands for the ID that Podman makes up anew for each answer: one
// store of one host is one engine.
func podmanID(info infoAnswer) string { return "podman:" + info.Name + ":" + info.DockerRootDir }

func engineLabels(info infoAnswer) (map[string]string, error) {
	builtin := map[string]string{
		labelStorageDriver:   info.Driver,
		labelKernelVersion:   info.KernelVersion,
		labelOperatingSystem: info.OperatingSystem,
		labelOSType:          info.OSType,
	}
	labels := make(map[string]string, len(info.Labels)+len(builtin))
	for _, l := range info.Labels {
		key, value, ok := strings.Cut(l, "=")
		if !ok {
			return nil, fmt.Errorf("its label %q is not of the form key=value", l)
		}
		if key != labelNode {
			labels[key] = value
		}
	}
	for k, v := range builtin {
		labels[k] = v
	}
	return labels, nil
}

// LabelList gives all labels, the built-in ones too, sorted, as key=value.
func (id *Identity) LabelList() []string {
	out := make([]string, 0, len(id.Labels))
	for k, v := range id.Labels {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// clock reads the engine's time and its distance from ours; what lies within
// the round trip, or below two seconds, counts as none.
func clock(systemTime string, asked, answered time.Time) (engine time.Time, skew time.Duration) {
	t, err := time.Parse(time.RFC3339Nano, systemTime)
	if err != nil {
		return answered, 0
	}
	middle := asked.Add(answered.Sub(asked) / 2)
	skew = t.Sub(middle)
	if skew.Abs() < max(2*time.Second, answered.Sub(asked)) {
		skew = 0
	}
	return t, skew
}

// resolveIP gives the address that published ports of this engine are reached
// at, "" when there is none.
func (e *Engine) resolveIP(ctx context.Context) string {
	if e.addr.Network != "tcp" {
		return ""
	}
	host, _, err := net.SplitHostPort(e.addr.Target)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.String()
	}
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil || len(ips) == 0 {
		return ""
	}
	return ips[0]
}
