package lab

import (
	"net/netip"
	"testing"
)

func TestAddressPlan(t *testing.T) {
	p := netip.MustParsePrefix("10.99.0.0/24")
	for got, want := range map[string]string{
		hubAddr(p).String():                                             "10.99.0.1",
		machineAddr(p, 1).String():                                      "10.99.0.11",
		machineAddr(p, 244).String():                                    "10.99.0.254",
		hardwareAddr(machineAddr(p, 1)).String():                        "02:5e:0a:63:00:0b",
		machineAddr(netip.MustParsePrefix("10.1.0.0/16"), 300).String(): "10.1.1.54",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for prefix, want := range map[string]int{"10.99.0.0/24": 244, "10.99.0.0/28": 4, "10.99.0.0/16": 65524} {
		p := netip.MustParsePrefix(prefix)
		if got := capacity(p); got != want {
			t.Errorf("capacity of %s: got %d, want %d", prefix, got, want)
		}
		if last := machineAddr(p, capacity(p)); !p.Contains(last.Next()) || p.Contains(last.Next().Next()) {
			t.Errorf("the last machine of %s is %s, want the address before broadcast", prefix, last)
		}
	}
}

func TestCheckSubnet(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"10.99.0.0/24": true, "192.168.0.0/16": true, "10.0.0.0/28": true,
		"10.0.0.0/29": false, "10.0.0.0/8": false, "fd00::/64": false,
	} {
		if err := checkSubnet(netip.MustParsePrefix(prefix)); (err == nil) != ok {
			t.Errorf("checkSubnet(%s) = %v, want ok %v", prefix, err, ok)
		}
	}
}

func TestMachineIndex(t *testing.T) {
	for name, want := range map[string]int{"n1": 1, "n42": 42, "n9999": 9999, "n0": 0, "n01": 0, "x1": 0, "n": 0, "n1/..": 0, "hub": 0} {
		if got, err := machineIndex(name); got != want || (err == nil) != (want > 0) {
			t.Errorf("machineIndex(%q) = %d, %v, want %d", name, got, err, want)
		}
	}
}

func TestDiscovery_writesRunsAsRanges(t *testing.T) {
	for want, addrs := range map[string][]string{
		"nodes://10.99.0.11:2375":                           {"10.99.0.11"},
		"nodes://10.99.0.[11:13]:2375":                      {"10.99.0.11", "10.99.0.12", "10.99.0.13"},
		"nodes://10.99.0.[11:12]:2375,10.99.0.14:2375":      {"10.99.0.11", "10.99.0.12", "10.99.0.14"},
		"nodes://10.99.0.[254:255]:2375,10.99.1.[0:1]:2375": {"10.99.0.254", "10.99.0.255", "10.99.1.0", "10.99.1.1"},
	} {
		var machines []Machine
		for _, a := range addrs {
			machines = append(machines, Machine{Addr: netip.MustParseAddr(a)})
		}
		if got := Discovery(machines); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
