package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The objects of an inventory are immutable: a change puts a new one in the
// old one's place. Raw holds the engine's own words.

// Container is a container as an engine listed and inspected it.
type Container struct {
	ID string
	// Names without leading slashes: the container's own first, then the
	// aliases that links gave it, as "other/alias".
	Names    []string
	Image    string // as given at create
	ImageID  string
	Created  time.Time // by the engine's clock
	Labels   map[string]string
	State    ContainerState
	Ports    []PublishedPort
	Mounts   []Mount
	Networks []NetworkAttachment // by name
	Host     HostConfig
	Exposed  []string // "80/tcp", sorted
	// Raw is the container's entry in the engine's list, with the labels and the
	// state that inspect shows, and without Names, Ports and Status.
	Raw json.RawMessage
	// RawPorts is the entry's Ports; nil for none.
	RawPorts json.RawMessage

	seq        uint64 // of the question that this answers
	sum        uint64 // of the entry in the list
	listedOnly bool   // the engine could not inspect it
}

// Name is the container's own name, without a slash.
func (c *Container) Name() string {
	if len(c.Names) == 0 {
		return ""
	}
	return c.Names[0]
}

// OnNetwork says whether the container is on the network of this name.
func (c *Container) OnNetwork(name string) bool {
	return slices.ContainsFunc(c.Networks, func(n NetworkAttachment) bool { return n.Name == name })
}

// ContainerState is the state that inspect shows.
type ContainerState struct {
	Status     string
	Running    bool
	Paused     bool
	Restarting bool
	Dead       bool
	ExitCode   int
	StartedAt  time.Time
	FinishedAt time.Time
	Health     struct{ Status string }
}

// PublishedPort is an entry of the list's Ports.
type PublishedPort struct {
	IP          string
	PrivatePort uint16
	PublicPort  uint16
	Type        string
}

// Mount is where a volume or a path is mounted.
type Mount struct {
	Type        string
	Name        string
	Source      string
	Destination string
}

// NetworkAttachment is a container's place on a network.
type NetworkAttachment struct {
	Name, NetworkID string
	Connected       bool // it has an endpoint: the container runs
}

// HostConfig is what placement and rescheduling need of a container's.
type HostConfig struct {
	Memory       int64
	NanoCpus     int64
	CpuShares    int64
	NetworkMode  string
	IpcMode      string
	PidMode      string
	Isolation    string
	PortBindings map[string][]PortBinding // by "80/tcp"
	VolumesFrom  []string
	Links        []string
}

// PortBinding is a host address and port, or a range "8000-8010", or "".
type PortBinding struct{ HostIp, HostPort string }

// Image is an image as an engine listed it.
type Image struct {
	ID          string `json:"Id"`
	ParentID    string `json:"ParentId"`
	RepoTags    []string
	RepoDigests []string
	Created     int64 // seconds since the epoch
	Size        int64 // bytes
	Labels      map[string]string
	Raw         json.RawMessage `json:"-"`
}

// Network is a network as an engine listed it.
type Network struct {
	ID     string `json:"Id"`
	Name   string
	Driver string
	Scope  string // local, global or swarm
	Labels map[string]string
	Raw    json.RawMessage `json:"-"`
}

// Volume is a volume as an engine listed it.
type Volume struct {
	Name   string
	Driver string
	Scope  string
	Labels map[string]string
	Raw    json.RawMessage `json:"-"`
}

type listedContainer struct {
	ID              string `json:"Id"`
	Names           []string
	Image           string
	ImageID         string
	Created         int64
	State           string
	Labels          map[string]string
	Ports           []PublishedPort
	Mounts          []Mount
	NetworkSettings struct {
		Networks map[string]struct{ NetworkID, EndpointID string }
	}
}

type inspectedContainer struct {
	Name       string
	Created    time.Time
	State      ContainerState
	HostConfig HostConfig
	Config     struct {
		Image        string
		Labels       map[string]string
		ExposedPorts map[string]struct{}
	}
}

// newContainer joins what list and inspect said. inspect wins where both speak:
// it is the later word. It is nil for a container that cannot be inspected.
func newContainer(entry listed, inspected *inspectedContainer, words *words) (*Container, error) {
	var listed listedContainer
	if err := json.Unmarshal(entry.raw, &listed); err != nil {
		return nil, fmt.Errorf("decode listed container: %w", err)
	}
	if listed.ID == "" {
		return nil, fmt.Errorf("listed container has no Id")
	}
	listedOnly := inspected == nil
	if listedOnly {
		inspected = &inspectedContainer{State: listed.state()}
	}
	c := &Container{
		ID:       listed.ID,
		Names:    containerNames(inspected.Name, listed.Names),
		Image:    listed.Image,
		ImageID:  listed.ImageID,
		Created:  time.Unix(listed.Created, 0),
		Labels:   inspected.Config.Labels,
		State:    inspected.State,
		Ports:    slices.Clone(listed.Ports), // decoding leaves room for more
		Mounts:   slices.Clone(listed.Mounts),
		Networks: listed.networks(),
		Host:     inspected.HostConfig,
		Exposed:  sortedKeys(inspected.Config.ExposedPorts),

		sum:        entry.sum,
		listedOnly: listedOnly,
	}
	if c.Labels == nil {
		c.Labels = listed.Labels
	}
	if !inspected.Created.IsZero() {
		c.Created = inspected.Created // the list's is in whole seconds, too coarse to order by
	}
	if err := c.keepEntry(entry.raw); err != nil {
		return nil, fmt.Errorf("keep listed container: %w", err)
	}
	words.share(c)
	return c, nil
}

func (l *listedContainer) networks() []NetworkAttachment {
	on := make([]NetworkAttachment, 0, len(l.NetworkSettings.Networks))
	for name, n := range l.NetworkSettings.Networks {
		on = append(on, NetworkAttachment{Name: name, NetworkID: n.NetworkID, Connected: n.EndpointID != ""})
	}
	slices.SortFunc(on, func(a, b NetworkAttachment) int { return strings.Compare(a.Name, b.Name) })
	return on
}

// state is as much as the list says of it; its times are no more than bounds.
func (l *listedContainer) state() ContainerState {
	s := ContainerState{Status: l.State}
	s.Running = l.State == "running" || l.State == "paused" || l.State == "restarting"
	s.Paused = l.State == "paused"
	s.Restarting = l.State == "restarting"
	s.Dead = l.State == "dead"
	if l.State != "created" {
		s.StartedAt = time.Unix(l.Created, 0)
	}
	if !s.Running {
		s.FinishedAt = s.StartedAt
	}
	return s
}

// containerNames puts the container's own name first; engines list names in no
// promised order.
func containerNames(own string, listed []string) []string {
	own = strings.TrimPrefix(own, "/")
	names := make([]string, 0, len(listed)+1)
	if own != "" {
		names = append(names, own)
	}
	for _, n := range listed {
		if n = strings.TrimPrefix(n, "/"); n != "" && n != own {
			names = append(names, n)
		}
	}
	return names
}
