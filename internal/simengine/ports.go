package simengine

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	api "github.com/moby/moby/api/types/network"
)

// port is a port that a container publishes while it runs. Nothing listens on
// it: it is on the books, so that two containers cannot have the same.
type port struct {
	private  uint16
	protocol string
	ip       string
	wanted   uint16 // 0: any that is free
	public   uint16 // 0 while the container does not run
}

// firstEphemeral is where an engine begins to look for a port of its own choice.
const firstEphemeral = 32768

// portsOf reads what a create wants to publish.
func portsOf(bindings api.PortMap) ([]port, error) {
	var out []port
	keys := slices.SortedFunc(maps.Keys(bindings), func(a, b api.Port) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		for _, b := range bindings[key] {
			p := port{private: key.Num(), protocol: string(key.Proto()), ip: "0.0.0.0"}
			if b.HostIP.IsValid() {
				p.ip = b.HostIP.String()
			}
			// Of a range the first is taken.
			if first, _, _ := strings.Cut(b.HostPort, "-"); first != "" {
				n, err := strconv.ParseUint(first, 10, 16)
				if err != nil {
					return nil, fmt.Errorf("invalid port specification: %q", b.HostPort)
				}
				p.wanted = uint16(n)
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// openPorts gives a container that starts its ports, all or none; mu is held.
func (e *Engine) openPorts(c *container) error {
	if len(c.ports) == 0 {
		return nil
	}
	type taken struct {
		protocol string
		port     uint16
	}
	used := map[taken]bool{}
	for _, other := range e.containers {
		if other != c && other.alive() {
			for _, p := range other.ports {
				used[taken{p.protocol, p.public}] = true
			}
		}
	}
	opened := slices.Clone(c.ports)
	for i := range opened {
		p := &opened[i]
		p.public = p.wanted
		for n := firstEphemeral; p.wanted == 0 && n <= 65535; n++ {
			if !used[taken{p.protocol, uint16(n)}] {
				p.public = uint16(n)
				break
			}
		}
		if p.public == 0 || used[taken{p.protocol, p.public}] {
			return &failure{http.StatusInternalServerError, fmt.Sprintf("driver failed programming external connectivity on endpoint %s: Bind for %s:%d failed: port is already allocated", c.name, p.ip, p.wanted)}
		}
		used[taken{p.protocol, p.public}] = true
	}
	c.ports = opened
	return nil
}

// appendPorts writes the published ports as lists show them.
func (c *container) appendPorts(b []byte) []byte {
	if !c.alive() {
		return b
	}
	for i, p := range c.ports {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"IP":%s,"PrivatePort":%d,"PublicPort":%d,"Type":%q}`, appendText(nil, p.ip), p.private, p.public, p.protocol)
	}
	return b
}

// appendPortMap writes them as inspect does, those of one key together: portsOf
// has put them side by side.
func (c *container) appendPortMap(b []byte) []byte {
	if !c.alive() {
		return b
	}
	for i, p := range c.ports {
		switch {
		case i > 0 && c.ports[i-1].private == p.private && c.ports[i-1].protocol == p.protocol:
			b = append(b[:len(b)-1], ',') // goes on in the list that the one before has closed
		case i > 0:
			b = fmt.Appendf(b, `,"%d/%s":[`, p.private, p.protocol)
		default:
			b = fmt.Appendf(b, `"%d/%s":[`, p.private, p.protocol)
		}
		b = fmt.Appendf(b, `{"HostIp":%s,"HostPort":"%d"}]`, appendText(nil, p.ip), p.public)
	}
	return b
}
