//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Supported says in one sentence why real engines cannot run here, or nil.
// Tests skip with it.
func Supported() error {
	if err := requireRoot(); err != nil {
		return err
	}
	if _, err := findDockerd(""); err != nil {
		return err
	}
	return kernelSupport()
}

func requireRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root, for namespaces and engines; run it with sudo")
	}
	return nil
}

// kernelSupport tries in a network namespace that goes with its thread what a
// lab needs of the kernel.
func kernelSupport() error {
	if err := requireRoot(); err != nil {
		return err
	}
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("network and mount namespaces cannot be made here (%w); in a container, run it with --privileged", err)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = bridgeName
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return noKernelSupport(err)
		}
		attrs.Name = "n1"
		return noKernelSupport(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: nicName}))
	})
}
