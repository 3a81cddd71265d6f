//go:build linux

package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// demoTime is how long the demo may take, on a machine that does other things
// as well.
const demoTime = 20 * time.Second

// nobody is who runs the demo when the tests are run by root.
const nobody = 65534

// somebody has a copy of the demo, its programs, and a directory for what runs.
type somebody struct {
	t    *testing.T
	tree string
	name string // of the demo, unlike any that a developer runs
	env  []string
	root bool
}

// programs is where TestMain has put what `make demo` builds.
var programs string

func TestMain(m *testing.M) {
	code, err := buildAnd(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAnd(run func() int) (code int, err error) {
	if programs, err = os.MkdirTemp("", "skepdemo"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(programs)
	for _, pkg := range []string{"./cmd/skep", "./demo/engines"} {
		build := exec.Command("go", "build", "-o", programs+"/", pkg)
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build %s: %w: %s", pkg, err, out)
		}
	}
	return run(), nil
}

// newSomebody copies the demo. Without rights, unless root is given.
func newSomebody(t *testing.T, root bool) *somebody {
	t.Helper()
	// Not t.TempDir: its name would make the paths of sockets too long.
	tree, err := os.MkdirTemp("/tmp", "skepdemo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tree) })
	repo := filepath.Join("..", "..")
	for _, path := range []string{"demo/demo.sh", "demo/tour.sh", "scripts/setup.sh"} {
		content, err := os.ReadFile(filepath.Join(repo, path))
		if err == nil {
			err = os.MkdirAll(filepath.Join(tree, filepath.Dir(path)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(tree, path), content, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(tree, "bin"), os.DirFS(programs)); err != nil {
		t.Fatal(err)
	}
	s := &somebody{t: t, tree: tree, name: "d" + strconv.Itoa(os.Getpid()), root: root}
	s.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tree, "XDG_RUNTIME_DIR=" + tree, "SKEP_DEMO_NAME=" + s.name}
	if !root && os.Geteuid() == 0 {
		err := filepath.WalkDir(tree, func(path string, _ os.DirEntry, err error) error {
			if err == nil {
				err = os.Chown(path, nobody, nobody)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if out, err := s.demo("down"); err != nil {
			t.Errorf("down: %v: %s", err, out)
		}
		s.nothingIsLeft()
	})
	return s
}

// runDir is where the demo has its sockets.
func (s *somebody) runDir() string {
	if s.root {
		return filepath.Join("/run", "skep-"+s.name)
	}
	return filepath.Join(s.tree, "skep-"+s.name)
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// demo runs demo.sh and gives all that it says.
func (s *somebody) demo(args ...string) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.tree, "demo", "demo.sh"), args...)
	cmd.Dir, cmd.Env = s.tree, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if !s.root && os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// What it leaves running must not hold its output.
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	return colours.ReplaceAllString(out.String(), ""), err
}

// processes finds what runs on behalf of the copy, by pid.
func (s *somebody) processes() map[int]string {
	s.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		s.t.Fatal(err)
	}
	found := map[int]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")) // it may be gone
		if bytes.Contains(line, []byte(s.tree)) {
			found[pid] = strings.ReplaceAll(string(line), "\x00", " ")
		}
	}
	return found
}

func (s *somebody) nothingIsLeft() {
	s.t.Helper()
	for pid, line := range s.processes() {
		s.t.Errorf("this runs on: %s", line)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if _, err := os.Stat(s.runDir()); !os.IsNotExist(err) {
		s.t.Errorf("%s is left (%v)", s.runDir(), err)
	}
}

// says reports what is missing of what the demo should say, in this order.
func says(t *testing.T, out string, want ...string) {
	t.Helper()
	rest := out
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Fatalf("it does not say %q (in this order); it says:\n%s", w, out)
		}
		rest = after
	}
}

func needDocker(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no docker command line in PATH")
	}
}

func TestDemo_withoutRootShowsSimulatedEnginesAndSaysWhy(t *testing.T) {
	needDocker(t)
	s := newSomebody(t, false)
	began := time.Now()
	out, err := s.demo("up")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if took := time.Since(began); took > demoTime {
		t.Errorf("it took %v", took)
	}
	says(t, out,
		"These engines are simulated, because a lab needs root",
		"run no programs",
		"# 50 simulated engines, and one skep manager that makes them one",
		"0 containers, 100 images, 400 processors, [Nodes 50]",
		"docker run -d --name web1",
		"simulated container sim_", // of docker run in the foreground
		"0.0.0.0:8080->80/tcp",
		`rack is "a", not d`,
		"simulated container web2 runs on sim-",
		"/front is on sim-",
		"front start on sim-",
		"is simulated, runs no programs and cannot do that; use a real Docker Engine",
		"The power of one engine fails",
		"Status Unhealthy",
		"Host Down",
		"And comes back",
		"web1",
		"export DOCKER_HOST=unix://"+s.runDir()+"/skep.sock",
	)

	t.Run("two of one port are on two engines of their rack, and who wants to be beside another is", func(t *testing.T) {
		on := map[string]string{}
		for _, m := range regexp.MustCompile(`/(\w+) is on (sim-\d+)`).FindAllStringSubmatch(out, -1) {
			on[m[1]] = m[2]
		}
		rack := func(name string) int {
			n, _ := strconv.Atoi(strings.TrimPrefix(on[name], "sim-"))
			return n % 3
		}
		if on["front"] == on["front2"] || rack("front") != 0 || rack("front2") != 0 || on["side"] != on["front"] {
			t.Errorf("they are on %v", on)
		}
	})

	t.Run("a second time begins anew, also when the first was killed", func(t *testing.T) {
		for pid, line := range s.processes() {
			if strings.Contains(line, "engines serve") {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		if out, err := s.demo("up"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if running := s.processes(); len(running) != 2 {
			t.Errorf("there should be the engines and skep: %v", running)
		}
	})

	t.Run("down leaves nothing", func(t *testing.T) {
		if out, err := s.demo("down"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		s.nothingIsLeft()
	})
}

func TestDemo_whereRealEnginesAreAskedForFailsAndSaysWhy(t *testing.T) {
	s := newSomebody(t, false)
	out, err := s.demo("up", "real")
	if err == nil {
		t.Errorf("it succeeds: %s", out)
	}
	says(t, out, "No real Docker Engine can run here: a lab needs root")
}

func TestDemo_asRootWithoutWhatDockerNeedsShowsSimulatedEngines(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be without the rest")
	}
	needDocker(t)
	s := newSomebody(t, true)
	s.env = append(s.env, "DOCKERD=/nowhere/dockerd")
	out, err := s.demo("up")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	says(t, out, "These engines are simulated, because", "/nowhere/dockerd", "Host Down", "export DOCKER_HOST=unix:///run/skep-")
}

func TestDemo_withoutTheDockerCommandLineSaysHowToGetIt(t *testing.T) {
	s := newSomebody(t, false)
	tools := filepath.Join(s.tree, "tools")
	if err := os.Mkdir(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bash", "cat", "dirname", "env", "grep", "id", "mkdir", "nohup", "rm", "sleep", "uname"} {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(tools, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.env = append(s.env, "PATH="+tools)
	out, err := s.demo("up")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	socket := s.runDir() + "/skep.sock"
	says(t, out, "These engines are simulated", "The docker command line is missing", "https://download.docker.com/linux/static/stable/",
		"curl --unix-socket "+socket+" http://skep/info")

	// What it advises works.
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	response, err := (&http.Client{Transport: transport}).Get("http://skep/info")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(body), `"SystemStatus"`) {
		t.Errorf("it answers %s (%v)", body, err)
	}
}

func TestDemo_downDoesNotWaitForADeadManagerThatNobodyReaps(t *testing.T) {
	s := newSomebody(t, false)
	if err := os.Mkdir(s.runDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	manager := exec.Command("true")
	if os.Geteuid() == 0 {
		manager.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if err := os.Chown(s.runDir(), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := manager.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Wait() })
	pid := manager.Process.Pid
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	note := fmt.Sprintf("%d %s\n", pid, strings.Fields(string(stat))[21])
	if err := os.WriteFile(filepath.Join(s.runDir(), "pid"), []byte(note), 0o644); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if out, err := s.demo("down"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if took := time.Since(began); took > demoTime {
		t.Errorf("it took %v", took)
	}
}

func TestDemo_takesNoNameThatIsAPath(t *testing.T) {
	s := newSomebody(t, false)
	env := s.env
	s.env = append(env[:len(env):len(env)], "SKEP_DEMO_NAME=x/../y")
	out, err := s.demo("down")
	s.env = env
	if err == nil {
		t.Error("it does")
	}
	says(t, out, "SKEP_DEMO_NAME=x/../y: a name is a small letter")
}

func TestSetup_looksForTheCommandLinesPackageOnceItsListsAreFresh(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"id":        "echo 0",
		"apt-cache": `[ "$*" = "show docker-cli" ] && [ -e ` + dir + `/fresh ]`,
		"apt-get":   `case $1 in update) : >` + dir + `/fresh ;; install) echo "$*" >` + dir + `/installed ;; esac`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	setup := exec.Command("/bin/sh", filepath.Join("..", "..", "scripts", "setup.sh"))
	setup.Env = []string{"PATH=" + dir}
	if out, err := setup.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	installed, err := os.ReadFile(filepath.Join(dir, "installed"))
	if err != nil || !strings.Contains(string(installed), " docker-cli") {
		t.Errorf("it installs %s (%v)", installed, err)
	}
}
