//go:build linux

package virtualengine

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var fullID = regexp.MustCompile(`^[0-9a-f]{64}$`)

func TestRun_inTheForeground(t *testing.T) {
	u := newUser(t)
	u.sub("prints what the program prints, each stream on its own", func(u *user) {
		u.docker("run", "--rm", tiny, "tiny", "echo", "hello").ok().silent().prints("hello\n")
		r := u.docker("run", "--rm", tiny, "tiny", "err", "alas").ok().prints("")
		equal(u.t, "standard error", r.stderr, "alas\n")
	})
	u.sub("passes on a lot of output whole and in order", func(u *user) {
		var out, err strings.Builder
		for i := 1; i <= 20000; i++ {
			if i%10 == 0 {
				fmt.Fprintf(&err, "error %d\n", i)
			} else {
				fmt.Fprintf(&out, "line %d\n", i)
			}
		}
		r := u.docker("run", "--rm", tiny, "tiny", "spam", "20000").ok()
		if r.stdout != out.String() || r.stderr != err.String() {
			u.t.Errorf("the output is not what the program wrote\n%s", r)
		}
	})
	u.sub("takes standard input to its end", func(u *user) {
		u.typing("one\ntwo\n").docker("run", "--rm", "-i", tiny, "tiny", "cat").ok().prints("one\ntwo\n")
		u.typing("").docker("run", "--rm", "-i", tiny, "tiny", "cat").ok().prints("")
		much := strings.Repeat("0123456789abcde\n", 1<<16)
		u.typing(much).docker("run", "--rm", "-i", tiny, "tiny", "sum").ok().
			prints(fmt.Sprintf("%d %x\n", len(much), sha256.Sum256([]byte(much))))
	})
	u.sub("reads no standard input without -i", func(u *user) {
		u.typing("ignored").docker("run", "--rm", tiny, "tiny", "cat").ok().prints("")
	})
	u.sub("ends with the program's status", func(u *user) {
		for _, code := range []int{0, 1, 42, 255} {
			u.docker("run", "--rm", tiny, "tiny", "exit", fmt.Sprint(code)).exits(code)
		}
	})
	u.sub("ends with 125 when the engine refuses", func(u *user) {
		u.docker("run", "--rm", "--memory", "1k", tiny).exits(125).complains("Minimum memory limit allowed is 6MB")
		u.docker("run", "--rm", "--name", "no/good", tiny).exits(125).complains("Invalid container name (no/good)")
	})
	u.sub("ends with 126 when the program cannot be run, and 127 when there is none", func(u *user) {
		u.docker("run", "--rm", tiny, "/plain.txt").exits(126).complains("permission denied")
		u.docker("run", "--rm", tiny, "nothing").exits(127).complains("executable file not found in $PATH")
		u.docker("run", "--rm", "--entrypoint", "/no/thing", tiny).exits(127).complains("no such file or directory")
	})
	u.sub("ends with 137 when the container is killed", func(u *user) {
		b := u.start("run", "--rm", "--name", "victim", tiny, "tiny", "stay")
		b.expect("staying")
		u.docker("kill", "victim").ok().prints("victim\n")
		b.wait(10 * time.Second).exits(137)
	})
	u.sub("passes signals of the terminal's user to the program", func(u *user) {
		b := u.start("run", "--rm", tiny, "tiny", "signals")
		b.expect("ready")
		b.signal(syscall.SIGHUP)
		b.expect("got SIGHUP")
		b.signal(syscall.SIGTERM)
		b.wait(10 * time.Second).exits(143).shows("got SIGTERM")
	})
	u.sub("leaves nothing behind with --rm", func(u *user) {
		u.eventually(noticed, func() error {
			if left := u.names("-a"); len(left) != 0 {
				return fmt.Errorf("still there: %q", left)
			}
			return nil
		})
	})
	u.sub("is gone from the list once it has returned, with --rm", func(u *user) {
		for range 3 {
			u.docker("run", "--rm", "--name", "short", tiny, "tiny", "echo").ok()
		}
	})
}

func TestRun_inATerminal(t *testing.T) {
	u := newUser(t)
	u.sub("gives the program a terminal of the user's size, and tells it a new one", func(u *user) {
		b := u.terminal("run", "-it", "--rm", "--name", "sized", tiny, "tiny", "tty", "30x100")
		u.eventually(10*time.Second, func() error {
			if names := u.names(); len(names) != 1 {
				return fmt.Errorf("docker ps shows %q", names)
			}
			return nil
		})
		b.resize(30, 100)
		b.wait(15 * time.Second).ok().shows("terminal 30x100")
	})
	u.sub("is a conversation", func(u *user) {
		b := u.terminal("run", "-it", "--rm", tiny, "tiny", "shell")
		b.expect("> ")
		b.send("hello\n")
		b.expect("you said hello")
		b.send("exit 3\n")
		b.wait(10 * time.Second).exits(3)
	})
	u.sub("ends at control-D, and control-C reaches the program", func(u *user) {
		b := u.terminal("run", "-it", "--rm", tiny, "tiny", "shell")
		b.expect("> ")
		b.send("\x04")
		b.wait(10 * time.Second).ok().shows("end of input")
		b = u.terminal("run", "-it", "--rm", tiny, "tiny", "signals")
		b.expect("ready")
		b.send("\x03")
		b.expect("got SIGINT")
		b.send("\x1c")
		b.expect("got SIGQUIT")
	})
	u.sub("is left running after control-P control-Q", func(u *user) {
		b := u.terminal("run", "-it", "--name", "left", tiny, "tiny", "shell")
		b.expect("> ")
		b.send("\x10\x11")
		b.wait(10 * time.Second).ok()
		equal(u.t, "status", u.inspect("{{.State.Status}}", "left"), "running")
	})
	u.sub("has its own two streams in one without -i", func(u *user) {
		u.docker("run", "-t", "--rm", tiny, "tiny", "err", "alas").ok().prints("alas\r\n")
	})
}

func TestRun_inTheBackground(t *testing.T) {
	u := newUser(t)
	id := u.run("--name", "bg", tiny, "tiny", "sleep")
	if !fullID.MatchString(id) {
		t.Errorf("docker run -d prints %q, want an ID", id)
	}
	u.sub("shows in docker ps at once, with its node", func(u *user) {
		node := u.nodeOf("bg")
		sameList(u.t, "docker ps", u.names(), []string{node + "/bg"})
		row := u.out("ps", "--no-trunc", "--format", "{{.ID}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Ports}}")
		equal(u.t, "docker ps", row, id+`|`+tiny+`|"tiny sleep"|running|`)
	})
	u.sub("has no name twice", func(u *user) {
		u.docker("run", "-d", "--name", "bg", tiny).exits(125).
			complains(`Conflict. The container name "/bg" is already in use by container "`+id+`" on node `, "You have to remove (or rename) that container")
		u.docker("create", "--name", "bg", tiny).exits(1).complains("Conflict.")
	})
	u.sub("writes its ID to --cidfile", func(u *user) {
		path := filepath.Join(u.t.TempDir(), "cid")
		id := u.run("--cidfile", path, tiny, "tiny", "sleep")
		written, err := os.ReadFile(path)
		if err != nil || string(written) != id {
			u.t.Errorf("the file holds %q (%v), want %q", written, err, id)
		}
	})
	u.sub("is removed with --rm when it ends", func(u *user) {
		u.run("--rm", "--name", "brief", tiny, "tiny", "sleep")
		u.docker("stop", "brief").ok()
		u.eventually(noticed, func() error {
			if r := u.docker("inspect", "brief"); r.code == 0 {
				return fmt.Errorf("it is still there")
			}
			return nil
		})
	})
	u.sub("gets another name than those in use when it is given none", func(u *user) {
		names := map[string]bool{}
		for range 5 {
			names[u.inspect("{{.Name}}", u.run(tiny, "tiny", "sleep"))] = true
		}
		equal(u.t, "number of names", len(names), 5)
	})
}

func TestRun_options(t *testing.T) {
	u := newUser(t)
	for _, tc := range []struct {
		sentence string
		args     []string
		want     string
	}{
		{"environment", []string{"-e", "A=1", "-e", "B=x y", tiny, "tiny", "env"}, "A=1\n|B=x y\n"},
		{"image's environment", []string{tiny, "tiny", "env"}, "FROM_IMAGE=yes"},
		{"user and directory", []string{"-u", "7:8", "-w", "/some/where", tiny, "tiny", "id"}, "uid=7 gid=8 pid=1"},
		{"host name", []string{"--hostname", "me", tiny, "tiny", "id"}, "host=me dir=/"},
		{"init as process 1", []string{"--init", tiny, "tiny", "id"}, "pid="},
		{"file system in memory", []string{"--read-only", "--tmpfs", "/tmp", tiny, "tiny", "touch", "/tmp/x"}, ""},
		{"extra host", []string{"--add-host", "friend:10.1.2.3", tiny, "tiny", "cat", "/etc/hosts"}, "10.1.2.3\tfriend"},
		{"name server", []string{"--dns", "10.1.2.4", tiny, "tiny", "cat", "/etc/resolv.conf"}, "nameserver 10.1.2.4"},
		{"sysctl", []string{"--sysctl", "net.ipv4.ip_forward=1", tiny, "tiny", "cat", "/proc/sys/net/ipv4/ip_forward"}, "1\n"},
		{"limits", []string{"--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", tiny, "tiny", "echo", "limited"}, "limited\n"},
		{"entrypoint", []string{"--entrypoint", "tiny", tiny, "echo", "entered"}, "entered\n"},
		{"process namespace of the host", []string{"--pid", "host", tiny, "tiny", "echo", "hosted"}, "hosted\n"},
	} {
		u.sub(tc.sentence, func(u *user) {
			u.docker(append([]string{"run", "--rm"}, tc.args...)...).ok().shows(strings.Split(tc.want, "|")...)
		})
	}
	u.sub("a read-only file system is one", func(u *user) {
		u.docker("run", "--rm", "--read-only", tiny, "tiny", "touch", "/x").exits(1).complains("read-only file system")
	})
	u.sub("a memory limit kills what exceeds it", func(u *user) {
		u.docker("run", "--name", "fat", "--memory", "20m", "--memory-swap", "20m", tiny, "tiny", "hog", "60").exits(137)
		equal(u.t, "OOMKilled", u.inspect("{{.State.OOMKilled}}", "fat"), "true")
	})
	u.sub("labels and configuration are kept as given", func(u *user) {
		u.run("--name", "kept", "-l", "a=b", "-l", "empty=", "--stop-signal", "SIGUSR1", "--stop-timeout", "7", "--cap-drop", "NET_RAW",
			"--cap-add", "NET_ADMIN", "--shm-size", "9m", "--log-opt", "max-file=3", tiny, "tiny", "sleep")
		equal(u.t, "inspect", u.inspect(`{{.Config.Labels.a}} {{.Config.Labels.empty}} {{.Config.StopSignal}} {{.Config.StopTimeout}} {{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}} {{.HostConfig.ShmSize}} {{index .HostConfig.LogConfig.Config "max-file"}}`, "kept"),
			"b  SIGUSR1 7 [CAP_NET_RAW] [CAP_NET_ADMIN] 9437184 3")
	})
	u.sub("a health check shows in docker ps", func(u *user) {
		u.run("--name", "well", "--health-cmd", "ignored", "--health-interval", "100ms", "--health-start-period", "1s", tiny, "tiny", "sleep")
		u.run("--name", "unwell", "--health-cmd", "ignored", "--health-interval", "100ms", "--health-retries", "1", tiny, "tiny", "sleep")
		// The image has no shell, so no health check of the CLI's can succeed.
		u.eventually(10*time.Second, func() error {
			if names := u.names("--filter", "health=unhealthy"); len(names) != 2 && len(names) != 1 {
				return fmt.Errorf("docker ps --filter health=unhealthy shows %q", names)
			}
			return nil
		})
		u.docker("ps", "--filter", "name=unwell").ok().shows("(unhealthy)")
	})
}

func TestRun_ports(t *testing.T) {
	u := newUser(t)
	u.run("--name", "web", "-p", "8080:80", "-p", "127.0.0.1:8081:81", "-p", "82", "-p", "5353:53/udp", tiny, "tiny", "serve")
	addr := u.inspect("{{.Node.IP}}", "web")
	u.sub("docker port gives the address where it can be reached", func(u *user) {
		u.docker("port", "web", "80").ok().prints(addr + ":8080\n")
		u.docker("port", "web", "80/tcp").ok().prints(addr + ":8080\n")
		u.docker("port", "web", "81").ok().prints("127.0.0.1:8081\n")
		u.docker("port", "web", "53/udp").ok().prints(addr + ":5353\n")
		u.docker("port", "web").ok().shows("80/tcp -> "+addr+":8080", "82/tcp -> "+addr+":")
		u.docker("port", "web", "99").exits(1)
	})
	u.sub("the address that docker port gives answers", func(u *user) {
		out, err := u.stage.lab.Command(u.t.Context(), "hub", u.stage.Tiny, "get", "http://"+u.out("port", "web", "80")).CombinedOutput()
		equal(u.t, "answer", string(out), "hello from "+u.inspect("{{.Config.Hostname}}", "web")+"\n")
		if err != nil {
			u.t.Error(err)
		}
	})
	u.sub("docker ps shows each port once", func(u *user) {
		ports := u.out("ps", "--format", "{{.Ports}}")
		for _, want := range []string{addr + ":8080->80/tcp", "127.0.0.1:8081->81/tcp", addr + ":5353->53/udp"} {
			if strings.Count(ports, want) != 1 {
				u.t.Errorf("docker ps shows %q, want %s once", ports, want)
			}
		}
	})
	u.sub("filters by port", func(u *user) {
		for filter, n := range map[string]int{"publish=8080": 1, "publish=8080/udp": 0, "publish=5353/udp": 1, "publish=8000-9000": 1, "publish=80": 0, "expose=80": 1, "expose=99": 0} {
			equal(u.t, filter, len(u.names("--filter", filter)), n)
		}
	})
}

// The restart policies are the engine's work; what skep must do is to notice.
func TestRun_restartPolicy(t *testing.T) {
	u := newUser(t)
	u.sub("on-failure:N gives up after N restarts", func(u *user) {
		u.run("--name", "flaky", "--restart", "on-failure:2", tiny, "tiny", "exit", "3")
		u.eventually(20*time.Second, func() error {
			if s := u.inspect("{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}", "flaky"); s != "exited 2 3" {
				return fmt.Errorf("inspect says %s", s)
			}
			if s := u.out("ps", "-a", "--filter", "name=flaky", "--format", "{{.Status}}"); !strings.HasPrefix(s, "Exited (3) ") {
				return fmt.Errorf("docker ps says %s", s)
			}
			return nil
		})
	})
	u.sub("always brings it back, until it is stopped", func(u *user) {
		u.run("--name", "eternal", "--restart", "always", tiny, "tiny", "exit", "0", "200ms")
		u.eventually(15*time.Second, func() error {
			if s := u.inspect("{{.RestartCount}}", "eternal"); s == "0" || s == "1" {
				return fmt.Errorf("it was restarted %s times", s)
			}
			return nil
		})
		u.docker("stop", "-t", "1", "eternal").ok()
		sameList(u.t, "docker ps", u.names("--filter", "name=eternal"), nil)
	})
}
