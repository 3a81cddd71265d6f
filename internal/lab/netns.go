//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// onOwnThread runs f on a thread that ends afterwards, so f may change the
// namespaces of its thread for good.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot be thrown away. Sit on it, so that the next
			// attempt gets another.
			defer runtime.UnlockOSThread()
			done <- onOwnThread(f)
			return
		}
		done <- f() // never unlocked: the thread ends with this goroutine
	}()
	return <-done
}

// inNetns runs f in the network namespace at path.
func inNetns(path string, f func() error) error {
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	return onOwnThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", path, err)
		}
		return f()
	})
}

// ensureNetns makes the named network namespace when there is none. One that
// exists must bear the mark.
func ensureNetns(path, mark string) error {
	switch own, err := ownNetns(path, mark); {
	case err != nil:
		return err
	case own:
		return nil
	}
	if err := dropNetns(path); err != nil { // a stale name
		return err
	}
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	f.Close()
	err = onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		// Marked before it gets its name: a name without a mark is not ours.
		if err := errors.Join(netlink.LinkSetAlias(lo, mark), netlink.LinkSetUp(lo)); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	})
	if err != nil {
		return errors.Join(fmt.Errorf("make network namespace %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// errForeign is for what bears a name of the lab but not its mark.
var errForeign = errors.New("not of this lab")

// ownNetns reports whether the network namespace at path exists; a name alone,
// without a namespace, does not count. It is an error when it is somebody
// else's.
func ownNetns(path, mark string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); errors.Is(err, unix.ENOENT) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("look at network namespace %s: %w", path, err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return false, nil // a stale name: its mount went with a reboot of the host
	}
	var alias string
	err := inNetns(path, func() error {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			alias = lo.Attrs().Alias
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look at network namespace %s: %w", path, err)
	}
	if alias == mark {
		return true, nil
	}
	name, owner := filepath.Base(path), "another program"
	if strings.HasPrefix(alias, "skep lab ") {
		owner = alias
	}
	return false, fmt.Errorf("network namespace %s is %w but of %s: choose another --name, or remove it (ip netns del %s)",
		name, errForeign, owner, name)
}

// dropNetns takes the name of a network namespace away. The namespace ends
// when no process is in it any more.
func dropNetns(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount network namespace %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove network namespace: %w", err)
	}
	return nil
}

// netnsMembers lists the processes in the network namespace at path.
func netnsMembers(path string) ([]process, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, fmt.Errorf("look at network namespace %s: %w", path, err)
	}
	want := fmt.Sprintf("net:[%d]", st.Ino)
	if namespaceOf(os.Getpid(), "net") == want {
		return nil, fmt.Errorf("this program runs in network namespace %s, which is about to go: run it outside of the lab", filepath.Base(path))
	}
	return processes(func(pid int) bool { return namespaceOf(pid, "net") == want })
}
