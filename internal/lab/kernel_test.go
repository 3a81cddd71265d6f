//go:build linux

package lab

import (
	"os"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseStat_findsFieldsBehindAnyName(t *testing.T) {
	line := []byte("42 (a (b) c) T 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 123456 1 2\n")
	want := procStat{comm: "a (b) c", state: 'T', ppid: 7, threads: 3, start: 123456}
	if got, err := parseStat(line); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "42", "42 (a) T 7", ") ("} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a status", bad)
		}
	}
}

func TestProcess_isNotTakenForALaterOneWithItsPid(t *testing.T) {
	self, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !self.alive() {
		t.Error("this process is not alive")
	}
	other := process{PID: self.PID, Start: self.Start + 1}
	if other.alive() {
		t.Error("a process with another start time is alive")
	}
	if err := other.signal(syscall.SIGKILL); err != nil { // or this test ends here
		t.Error(err)
	}
	if (process{}).alive() {
		t.Error("no process is alive")
	}
}

func TestParseMounts(t *testing.T) {
	text := `22 27 0:21 / /proc rw,relatime - proc proc rw
43 42 0:4 net:[4026532177] /run/netns/lab-hub rw shared:2 - nsfs nsfs rw
44 27 0:30 / /var/lib/my\040disk rw - ext4 /dev/vda rw
`
	want := []mount{
		{"/proc", "proc", "proc"}, {"/run/netns/lab-hub", "nsfs", "nsfs"}, {"/var/lib/my disk", "ext4", "/dev/vda"},
	}
	if got, err := parseMounts([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := parseMounts([]byte("22 27 0:21 / /proc\n")); err == nil {
		t.Error("a torn line is taken for a mount")
	}
}

func TestForeign_letsGoOfEnginesAndKeepsTheSystem(t *testing.T) {
	mounts := []mount{
		{"/", "overlay", "overlay"}, // skep in a container
		{"/dev/shm", "tmpfs", "shm"},
		{"/usr", "overlay", "overlay"}, // systemd-sysext
		{"/run", "tmpfs", "tmpfs"},
		{"/run/user/0", "tmpfs", "tmpfs"},
		{"/run/netns/x", "nsfs", "nsfs"},
		{"/var/lib/docker/overlay2/1/merged", "overlay", "overlay"},
		{"/var/lib/docker/rootfs/overlayfs/2", "overlay", "overlay"},
		{"/var/lib/docker/containers/1/mounts/shm", "tmpfs", "shm"},
		{"/var/lib/x/netns", "nsfs", "nsfs"},
		{"/lab/merged", "overlay", "overlay"},
		{"/runner", "ext4", "/dev/vdb"},
	}
	want := []string{
		"/var/lib/x/netns", "/var/lib/docker/containers/1/mounts/shm", "/var/lib/docker/rootfs/overlayfs/2",
		"/var/lib/docker/overlay2/1/merged", "/run/netns/x", "/run/user/0",
	}
	if got := foreign(mounts, "/lab/merged/n1"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDockerdArgs(t *testing.T) {
	l := layout{name: "x", dir: "/d"}
	m := &machineState{Name: "n1", Dockerd: "/usr/sbin/dockerd", Labels: []string{"lab.node=n1", "rack=a"}, Flags: []string{"--debug"}}
	args := l.dockerdArgs(m, machineAddr(defaultSubnet, 1))
	for flag, want := range map[string]string{
		"--data-root": "/d/n1/data", "--cgroup-parent": "/x/n1", "--label": "lab.node=n1", "--host": "unix:///run/docker.sock",
	} {
		if at := slices.Index(args, flag); at < 0 || args[at+1] != want {
			t.Errorf("want %s %s in %q", flag, want, args)
		}
	}
	for _, want := range []string{"unix:///d/n1/docker.sock", "tcp://10.99.0.11:2375", "--tls=false", "rack=a"} {
		if !slices.Contains(args, want) {
			t.Errorf("want %s in %q", want, args)
		}
	}
	if slices.Contains(args, "overlay2") {
		t.Error("a driver is chosen that does not work on this disk")
	}
	if args[0] != m.Dockerd || args[len(args)-1] != "--debug" {
		t.Errorf("want the program first and the user's flags last: %q", args)
	}
}

func TestOnOwnThread_leavesNoThreadInAnotherNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // now and then on the main thread
		away := ""
		err := onOwnThread(func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			away, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		})
		if err != nil {
			t.Skipf("namespaces cannot be made here: %v", err)
		}
		if away == home {
			t.Fatal("f did not change its namespace")
		}
		for _, link := range []string{"/proc/self/ns/net", "/proc/thread-self/ns/net"} {
			if got, err := os.Readlink(link); err != nil || got != home {
				t.Fatalf("%s is %s, %v, want %s", link, got, err, home)
			}
		}
	}
}
