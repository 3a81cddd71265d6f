package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Port is a host port, or a range of which one port is enough.
type Port struct {
	HostIP      string // "", "0.0.0.0" and "::" mean all interfaces
	First, Last uint16 // inclusive range of host ports; First==Last for one port; First 0 = any free port
	Protocol    string // "tcp", "udp", "sctp"; "" = "tcp"
}

// String writes the port as [IP:]FIRST[-LAST]/PROTOCOL; the IP only when it is
// one interface.
func (p Port) String() string {
	ip := ""
	if !allInterfaces(p.HostIP) {
		ip = p.HostIP + ":"
		if strings.Contains(p.HostIP, ":") {
			ip = "[" + p.HostIP + "]:"
		}
	}
	return ip + p.numbers() + "/" + p.protocol()
}

func (p Port) numbers() string {
	if p.fixed() {
		return fmt.Sprint(p.First)
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// any reports whether the engine is free to choose, so that nothing can clash.
func (p *Port) any() bool { return p.First == 0 }

func (p *Port) fixed() bool { return p.Last <= p.First }

// last is Last, but never below First: a range that ends before it starts is
// its first port.
func (p *Port) last() uint16 { return max(p.First, p.Last) }

func (p *Port) protocol() string {
	if p.Protocol == "" {
		return "tcp"
	}
	return strings.ToLower(p.Protocol)
}

func allInterfaces(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }

// claim is one port that is spoken for.
type claim struct {
	port     uint16
	hostIP   string
	protocol string
	own      bool // by the request itself, not by a container on the node
}

func (p *Port) claim(port uint16) claim {
	return claim{port: port, hostIP: p.HostIP, protocol: p.protocol()}
}

// clashes reports whether a and b cannot both be had. Between containers a
// claim on all interfaces clashes with every other, as it always did. Within
// one request 0.0.0.0 and :: live side by side: publishing a port on both
// families is legitimate, and an engine does it.
func (a claim) clashes(b claim) bool {
	if a.port != b.port || a.protocol != b.protocol {
		return false
	}
	if a.own && b.own && a.hostIP != "" && b.hostIP != "" && isIPv6(a.hostIP) != isIPv6(b.hostIP) {
		return false
	}
	return a.hostIP == b.hostIP || allInterfaces(a.hostIP) || allInterfaces(b.hostIP)
}

func isIPv6(ip string) bool { return strings.Contains(ip, ":") }

// claims is sorted by port, so that a container that publishes ten thousand
// ports costs a binary search and not ten thousand comparisons.
type claims []claim

func (cs claims) clash(with claim) bool {
	at, _ := slices.BinarySearchFunc(cs, with.port, func(c claim, port uint16) int { return cmp.Compare(c.port, port) })
	for ; at < len(cs) && cs[at].port == with.port; at++ {
		if cs[at].clashes(with) {
			return true
		}
	}
	return false
}

// take claims the lowest free port of p, if there is one.
func (cs claims) take(p *Port, own bool) (claims, bool) {
	c := p.claim(p.First)
	c.own = own
	// An int, since a uint16 never gets past 65535.
	for port := int(p.First); port <= int(p.last()); port++ {
		c.port = uint16(port)
		if !cs.clash(c) {
			at, _ := slices.BinarySearchFunc(cs, c, compareClaims)
			return slices.Insert(cs, at, c), true
		}
	}
	return cs, false
}

func compareClaims(a, b claim) int { return cmp.Compare(a.port, b.port) }

// compareRanges puts ranges in the order in which to hand out ports: the one
// that ends first has the least choice. Taking the lowest free port in this
// order finds an assignment whenever there is one, as long as all the ranges
// are for the same interfaces. Between different interfaces it is greedy, and
// may in odd cases miss one.
func compareRanges(a, b Port) int {
	return cmp.Or(
		cmp.Compare(a.last(), b.last()),
		cmp.Compare(a.First, b.First),
		strings.Compare(a.protocol(), b.protocol()),
		strings.Compare(a.HostIP, b.HostIP),
	)
}
