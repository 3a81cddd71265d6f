package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// Hub is the target name of the LAN itself, for Command.
const Hub = "hub"

const (
	netnsDir      = "/run/netns" // where ip-netns(8) looks for names
	nodeLabel     = "lab.node"
	lockFile      = "lock"
	socketFile    = "docker.sock"
	hostsFile     = "hosts"                // in a machine's directory, seen as /etc/hosts in the machine
	resolvFile    = "resolv.conf"          // likewise
	etcDocker     = "etc-docker"           // seen as /etc/docker
	diskPattern   = "n[1-9]*/" + etcDocker // what tells a machine's directory from others
	enginePort    = 2375
	maxSocketPath = 107  // unix(7): sun_path is 108 bytes with its final zero
	maxMachines   = 1000 // a bridge has 1,023 ports
	firstHost     = 10   // machine nK has host number firstHost+K
)

var defaultSubnet = netip.MustParsePrefix("10.99.0.0/24")

// Machine is one machine of a lab: where to find its engine.
type Machine struct {
	// Name is n1, n2, …; also its host name.
	Name string `json:"name"`
	// Addr is its address on the LAN.
	Addr netip.Addr `json:"addr"`
	// Socket is the path of its engine's unix socket on the host.
	Socket string `json:"socket"`
}

// Host is the engine's address from the host, as in DOCKER_HOST.
func (m Machine) Host() string { return "unix://" + m.Socket }

// TCP is the engine's address in the LAN, as host:port; plain HTTP.
func (m Machine) TCP() string {
	return netip.AddrPortFrom(m.Addr, enginePort).String()
}

// State is what a machine and its engine are doing.
type State string

const (
	StateRunning State = "running" // the engine runs and is on the LAN
	StatePaused  State = "paused"  // the engine is frozen
	StateCut     State = "cut"     // the engine runs, the machine is off the LAN
	StateStopped State = "stopped" // the machine is on, its engine does not run
	StateOff     State = "off"     // no power
)

// Status is a machine as it is now.
type Status struct {
	Machine
	State State `json:"state"`
	// Cut tells that the machine is off the LAN, whatever its engine does.
	Cut bool `json:"cut"`
	// PID is the engine's on the host, 0 when it does not run.
	PID int `json:"pid"`
	// Memory is what dockerd and its containerd hold in RAM, in bytes.
	Memory int64    `json:"memory"`
	Labels []string `json:"labels"`
}

// checkSubnet wants an IPv4 network with room for the hub and a few machines.
func checkSubnet(p netip.Prefix) error {
	if !p.Addr().Is4() || p.Bits() < 16 || p.Bits() > 28 {
		return fmt.Errorf("subnet %s: want an IPv4 network from /16 to /28, as in %s", p, defaultSubnet)
	}
	return nil
}

// capacity is how many machines fit into p.
func capacity(p netip.Prefix) int {
	return 1<<(32-p.Bits()) - 2 - firstHost
}

// hubAddr is the address of the LAN's bridge.
func hubAddr(p netip.Prefix) netip.Addr { return hostAddr(p, 1) }

// machineAddr is the address of machine n<index>.
func machineAddr(p netip.Prefix, index int) netip.Addr { return hostAddr(p, firstHost+index) }

func hostAddr(p netip.Prefix, host int) netip.Addr {
	b := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(host))
	return netip.AddrFrom4(b)
}

// hardwareAddr is the same for an address at every boot, as a network card's
// is, so that the neighbours' ARP entries stay right over a power cut.
func hardwareAddr(addr netip.Addr) net.HardwareAddr {
	b := addr.As4()
	return net.HardwareAddr{0x02, 0x5e, b[0], b[1], b[2], b[3]}
}

func machineName(index int) string { return "n" + strconv.Itoa(index) }

// machineIndex is the K of nK.
func machineIndex(name string) (int, error) {
	m := machineRule.FindStringSubmatch(name)
	if m == nil {
		return 0, fmt.Errorf("machine %q: want n1, n2, …", name)
	}
	return strconv.Atoi(m[1])
}

// layout is where the things of a lab are. It is a function of name and
// directory alone, so that they are found again without a state file.
type layout struct{ name, dir string }

func (l layout) stateFile() string             { return filepath.Join(l.dir, stateFile) }
func (l layout) lockFile() string              { return filepath.Join(l.dir, lockFile) }
func (l layout) machineDir(m string) string    { return filepath.Join(l.dir, m) }
func (l layout) data(m string) string          { return filepath.Join(l.dir, m, "data") }
func (l layout) socket(m string) string        { return filepath.Join(l.dir, m, socketFile) }
func (l layout) log(m string) string           { return filepath.Join(l.dir, m, "dockerd.log") }
func (l layout) netnsName(m string) string     { return l.name + "-" + m }
func (l layout) netns(m string) string         { return filepath.Join(netnsDir, l.netnsName(m)) }
func (l layout) cgroup() string                { return "/" + l.name }
func (l layout) machineCgroup(m string) string { return "/" + l.name + "/" + m }

// mark is the alias of the loopback device in each of the lab's network
// namespaces: by it they are known as this lab's.
func (l layout) mark() string { return "skep lab " + l.dir }

// Engines lists the machines' TCP addresses as host:port, comma-separated.
func Engines(machines []Machine) string {
	list := make([]string, len(machines))
	for i, m := range machines {
		list[i] = m.TCP()
	}
	return strings.Join(list, ",")
}

// Discovery is the nodes:// line for the machines, runs of addresses as
// ranges: nodes://10.99.0.[11:13]:2375. The machines must be in order.
func Discovery(machines []Machine) string {
	var parts []string
	for i := 0; i < len(machines); {
		first := machines[i].Addr.As4()
		last := first
		for i++; i < len(machines); i++ {
			next := machines[i].Addr.As4()
			if next[0] != last[0] || next[1] != last[1] || next[2] != last[2] || next[3] != last[3]+1 {
				break
			}
			last = next
		}
		host := strconv.Itoa(int(first[3]))
		if first != last {
			host = fmt.Sprintf("[%d:%d]", first[3], last[3])
		}
		parts = append(parts, fmt.Sprintf("%d.%d.%d.%s:%d", first[0], first[1], first[2], host, enginePort))
	}
	return "nodes://" + strings.Join(parts, ",")
}
