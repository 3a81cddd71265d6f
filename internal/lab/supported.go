//go:build linux

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

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
	if err := cgroupSupport(); err != nil {
		return err
	}
	return kernelSupport()
}

// cgroupSupport asks for the controller without which dockerd starts nothing:
// on cgroup v2 it is always there.
func cgroupSupport() error {
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.fstype == "cgroup2" || m.fstype == "cgroup" && slices.Contains(strings.Split(filepath.Base(m.point), ","), "devices") {
			return nil
		}
	}
	return errors.New("no cgroups are mounted here, and engines put containers into them; in a container, run it with --privileged")
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
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: nicName}); err != nil {
			return noKernelSupport(err)
		}
		return natSupport()
	})
}

// natSupport lists the table in which dockerd writes its first rule, in the
// network namespace of this thread.
func natSupport() error {
	for _, path := range []string{"iptables", "/usr/sbin/iptables", "/sbin/iptables", "/usr/local/sbin/iptables"} {
		path, err := exec.LookPath(path)
		if err != nil {
			continue
		}
		// Others may hold its lock, for which it would wait without end.
		out, err := exec.Command(path, "--wait", "10", "--table", "nat", "--list-rules").CombinedOutput()
		if err != nil {
			return fmt.Errorf("the kernel lacks the firewall that engines need: %s: %w: %s", path, err, bytes.TrimSpace(out))
		}
		return nil
	}
	return errors.New("engines need iptables, which is not installed; on Debian and Ubuntu: apt-get install iptables")
}
