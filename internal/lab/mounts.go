//go:build linux

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a line of /proc/self/mountinfo.
type mount struct {
	point, fstype, source string
}

func readMounts() ([]mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return parseMounts(data)
}

// parseMounts reads mountinfo, see proc_pid_mountinfo(5): the mount point is
// field 5, type and source are the first two fields after a lone "-".
func parseMounts(data []byte) ([]mount, error) {
	var mounts []mount
	for line := range bytes.Lines(data) {
		fields := strings.Fields(string(line))
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+3 {
			return nil, fmt.Errorf("unreadable mount %q", line)
		}
		mounts = append(mounts, mount{
			point:  unescape.Replace(fields[4]),
			fstype: fields[dash+1],
			source: fields[dash+2],
		})
	}
	return mounts, nil
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// foreign picks, last mounted first, what a fresh machine must let go of: the
// host's /run, and what engines have mounted, which would otherwise stay in use
// for as long as this machine lives. A mount that holds the path keep stays.
func foreign(mounts []mount, keep string) []string {
	var points []string
	for _, m := range slices.Backward(mounts) {
		switch {
		case within(keep, m.point):
		case m.point != "/run" && within(m.point, "/run"),
			m.fstype == "nsfs",
			m.fstype == "overlay" && isContainerRoot(m.point),
			m.source == "shm" && !within(m.point, "/dev"):
			points = append(points, m.point)
		}
	}
	return points
}

// isContainerRoot tells a container's overlay from one of the system's own,
// such as /usr: engines mount at …/merged or below …/rootfs.
func isContainerRoot(point string) bool {
	return filepath.Base(point) == "merged" || strings.Contains(point, "/rootfs")
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// mountMachine turns the mounts of this process, a copy of the host's, into
// those of a machine whose disk is dir.
func mountMachine(dir, name string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	mounts, err := readMounts()
	if err != nil {
		return err
	}
	for _, point := range foreign(mounts, dir) {
		_ = unix.Unmount(point, unix.MNT_DETACH) // what cannot go is merely kept in use
	}
	if err := mountRun(); err != nil {
		return err
	}
	for _, path := range []string{"/etc", "/opt"} {
		if err := mountLayer(path); err != nil {
			return err
		}
	}
	if err := writeEtc(dir, name); err != nil {
		return err
	}
	if err := mountSys(); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// As on any machine that systemd has booted, so that volumes may ask for
	// shared propagation. It ends at this machine: the group is its own.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts in the machine: %w", err)
	}
	return nil
}

// labRun holds the mounts' upper layers, in the machine's own /run.
const labRun = "/run/lab"

// mountRun gives the machine a /run of its own, without the sockets of the
// host's containerd, D-Bus and systemd, which an engine would use.
func mountRun() error {
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	for _, dir := range []string{"/run/docker", "/run/lock", labRun} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("fill /run: %w", err)
		}
	}
	if info, err := os.Lstat("/var/run"); err == nil && info.IsDir() {
		return bind("/run", "/var/run")
	}
	return nil
}

// mountLayer lays a throw-away layer over a directory of the host: the machine
// reads what is there and writes to the layer.
func mountLayer(path string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	upper, work := filepath.Join(labRun, path, "upper"), filepath.Join(labRun, path, "work")
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("lay over %s: %w", path, err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", path, upper, work)
	if err := unix.Mount("overlay", path, "overlay", 0, options); err != nil {
		return fmt.Errorf("lay over %s (does the kernel have overlayfs?): %w", path, err)
	}
	return nil
}

// writeEtc makes /etc that of the machine: its names, the LAN's resolver, and
// an engine configuration of its own. What is bound is kept on the machine's
// disk: the list of hosts grows while the machine runs, and engines up to 20.10
// keep the key that is their ID in /etc/docker.
func writeEtc(dir, name string) error {
	for _, path := range []string{"/etc/hostname", "/etc/" + hostsFile, "/etc/" + resolvFile} {
		if err := os.RemoveAll(path); err != nil { // may be a link into the host's /run
			return fmt.Errorf("write %s: %w", path, err)
		}
		if err := os.WriteFile(path, []byte(name+"\n"), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	if err := os.MkdirAll("/etc/docker", 0o755); err != nil {
		return fmt.Errorf("make /etc/docker: %w", err)
	}
	return errors.Join(
		bind(filepath.Join(dir, hostsFile), "/etc/"+hostsFile),
		bind(filepath.Join(dir, resolvFile), "/etc/"+resolvFile),
		bind(filepath.Join(dir, etcDocker), "/etc/docker"))
}

// mountSys shows the machine's own network devices in /sys, and the host's
// cgroups.
func mountSys() error {
	const cgroups, keep = "/sys/fs/cgroup", labRun + "/cgroup"
	if err := os.Mkdir(keep, 0o755); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := unix.Mount(cgroups, keep, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("keep cgroups: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := unix.Mount(keep, cgroups, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("put cgroups back: %w", err)
	}
	if err := unix.Unmount(keep, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("put cgroups back: %w", err)
	}
	return nil
}

func bind(from, to string) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", from, to, err)
	}
	return nil
}

// canOverlay reports whether overlay2 would work on the machine's disk. It
// does not on another overlay, nor on most network file systems.
func canOverlay(dir string) bool {
	probe, err := os.MkdirTemp(dir, "probe")
	if err != nil {
		return false
	}
	defer os.RemoveAll(probe)
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(probe, d), 0o755); err != nil {
			return false
		}
	}
	merged := filepath.Join(probe, "merged")
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", probe)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return false
	}
	return unix.Unmount(merged, 0) == nil
}
