//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	bridgeName = "br0"  // in the hub's namespace
	nicName    = "eth0" // in a machine's namespace

	portTimeout = 10 * time.Second
)

// ensureHub makes the LAN: a namespace with a bridge that has the first
// address of the subnet. It forwards nothing and has no way out.
func (l layout) ensureHub(subnet netip.Prefix) error {
	if err := ensureNetns(l.netns(Hub), l.mark()); err != nil {
		return err
	}
	addr := hubAddr(subnet)
	err := inNetns(l.netns(Hub), func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = bridgeName
		// Fixed, because a bridge without an address of its own takes one of a
		// port, and another when that port goes.
		attrs.HardwareAddr = hardwareAddr(addr)
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("add bridge: %w", noKernelSupport(err))
		}
		return setUp(bridgeName, addr, subnet.Bits())
	})
	if err != nil {
		return fmt.Errorf("set up the LAN: %w", err)
	}
	return nil
}

// ensureWire makes a machine's network namespace and its cable to the LAN. A
// cut cable is whole afterwards.
func (l layout) ensureWire(m string, subnet netip.Prefix, addr netip.Addr) error {
	if err := ensureNetns(l.netns(m), l.mark()); err != nil {
		return err
	}
	wired := false
	err := inNetns(l.netns(m), func() error {
		_, err := netlink.LinkByName(nicName)
		wired = err == nil
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look at the network of %s: %w", m, err)
	}
	if !wired {
		if err := l.plug(m, addr); err != nil {
			return fmt.Errorf("plug %s into the LAN: %w", m, err)
		}
	}
	if err := l.onPort(m, netlink.LinkSetUp); err != nil {
		return err
	}
	err = inNetns(l.netns(m), func() error {
		if err := setUp(nicName, addr, subnet.Bits()); err != nil {
			return err
		}
		// A default route is what engines expect to find; it leads to the hub,
		// which forwards nothing.
		return netlink.RouteReplace(&netlink.Route{Gw: hubAddr(subnet).AsSlice()})
	})
	if err != nil {
		return fmt.Errorf("set up the network of %s: %w", m, err)
	}
	return nil
}

// plug makes the cable. Both ends are born where they belong, so no link of
// the lab is ever seen in the host's namespace.
func (l layout) plug(m string, addr netip.Addr) error {
	ns, err := os.Open(l.netns(m))
	if err != nil {
		return err
	}
	defer ns.Close()
	return inNetns(l.netns(Hub), func() error {
		bridge, err := netlink.LinkByName(bridgeName)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = m
		attrs.MasterIndex = bridge.Attrs().Index
		err = netlink.LinkAdd(&netlink.Veth{
			LinkAttrs:        attrs,
			PeerName:         nicName,
			PeerHardwareAddr: hardwareAddr(addr),
			PeerNamespace:    netlink.NsFd(ns.Fd()),
		})
		return noKernelSupport(err)
	})
}

// portOff switches a machine's port on the bridge off.
func (l layout) portOff(m string) error {
	return l.onPort(m, netlink.LinkSetDown)
}

// portOn switches a machine's port on the bridge on, and waits until the
// bridge forwards: the kernel lets up to a second pass.
func (l layout) portOn(ctx context.Context, m string) error {
	if err := l.onPort(m, netlink.LinkSetUp); err != nil {
		return err
	}
	var failed error
	forwards := func() bool {
		failed = l.onPort(m, func(port netlink.Link) error {
			if port.Attrs().OperState != netlink.OperUp {
				return errors.New("it does not come up")
			}
			return nil
		})
		return failed == nil
	}
	if err := poll(ctx, portTimeout, forwards); err != nil {
		return fmt.Errorf("%w (%w)", failed, err)
	}
	return nil
}

// onPort does something to a machine's port on the bridge.
func (l layout) onPort(m string, do func(netlink.Link) error) error {
	err := inNetns(l.netns(Hub), func() error {
		port, err := netlink.LinkByName(m)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return errOff
		}
		if err != nil {
			return err
		}
		return do(port)
	})
	if err != nil {
		return fmt.Errorf("switch the port of %s: %w", m, err)
	}
	return nil
}

// wired reports whether a machine has its network and a cable to the LAN.
func (l layout) wired(m string) (bool, error) {
	own, err := ownNetns(l.netns(m), l.mark())
	if err != nil || !own {
		return false, err
	}
	ports, err := l.ports()
	_, plugged := ports[m]
	return plugged, err
}

// unplug removes a machine's cable, if there is one.
func (l layout) unplug(m string) error {
	own, err := ownNetns(l.netns(Hub), l.mark())
	if errors.Is(err, errForeign) || err == nil && !own {
		return nil
	}
	if err != nil {
		return err
	}
	err = inNetns(l.netns(Hub), func() error {
		port, err := netlink.LinkByName(m)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		if err != nil {
			return err
		}
		return netlink.LinkDel(port)
	})
	if err != nil {
		return fmt.Errorf("unplug %s: %w", m, err)
	}
	return nil
}

// ports tells for each machine that is plugged in whether its port is on.
func (l layout) ports() (map[string]bool, error) {
	on := map[string]bool{}
	if own, err := ownNetns(l.netns(Hub), l.mark()); err != nil || !own {
		return on, err
	}
	err := inNetns(l.netns(Hub), func() error {
		links, err := netlink.LinkList()
		for _, link := range links {
			if machineRule.MatchString(link.Attrs().Name) {
				on[link.Attrs().Name] = link.Attrs().RawFlags&unix.IFF_UP != 0
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the ports of the LAN: %w", err)
	}
	return on, nil
}

// setUp gives a link of the current namespace its address and switches it on.
func setUp(name string, addr netip.Addr, bits int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	ip, err := netlink.ParseAddr(netip.PrefixFrom(addr, bits).String())
	if err != nil {
		return err
	}
	if err := netlink.AddrReplace(link, ip); err != nil {
		return fmt.Errorf("set address of %s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

// noKernelSupport explains the answer to a kind of link the kernel lacks.
func noKernelSupport(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("the kernel has no veth or bridge devices; load them: modprobe -a veth bridge (%w)", err)
	}
	return err
}
