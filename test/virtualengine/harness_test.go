//go:build linux

package virtualengine

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/skep/skep/internal/lab"
)

const (
	// stageVar hands the stage over to the process that runs the tests.
	stageVar = "SKEP_TEST_STAGE"
	// machines is how many engines the lab has; some tests count on three.
	machines = 3
	// slotsOfN3 is how many containers n3 takes.
	slotsOfN3 = 80
	// tiny is the image that all engines have.
	tiny = "tiny:1"
	// registryHost is where the LAN's registry is, for the engines.
	registryHost = "10.99.0.1:5000"
)

// stage is what all tests of a run share.
type stage struct {
	Dir      string // with a short path, for unix sockets
	LabName  string
	Skep     string // the executable under test
	Registry string // the executable of testdata/registry
	Tiny     string // of testdata/tiny, static

	lab     *lab.Lab
	clis    []cli
	manager *manager
}

// onStage is the stage in the process that runs the tests; nil where engines
// cannot run, unsupported then says why.
var (
	onStage     *stage
	unsupported error
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" {
		os.Exit(m.Run())
	}
	if given := os.Getenv(stageVar); given != "" {
		os.Exit(perform(m, given))
	}
	if unsupported = supported(); unsupported == nil {
		os.Exit(supervise())
	}
	if os.Getenv("CI") == "true" {
		fmt.Fprintln(os.Stderr, "CI=true, but real engines cannot run here:", unsupported)
		os.Exit(1)
	}
	os.Exit(m.Run()) // every test says why it is skipped
}

func supported() error {
	if err := lab.Supported(); err != nil {
		return err
	}
	if len(findCLIs()) == 0 {
		return errors.New("there is no docker CLI in PATH")
	}
	return nil
}

// supervise builds the stage, runs the tests in a process of their own and
// takes the stage down.
func supervise() (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	began := time.Now()
	s, err := newStage(ctx)
	defer func() {
		if err := s.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "take the stage down:", err)
			code = max(code, 1)
		}
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the stage:", err)
		return 1
	}
	if testing.Verbose() {
		fmt.Printf("stage %s is up after %s\n", s.Dir, time.Since(began).Round(time.Millisecond))
	}
	return s.runTests(ctx)
}

// newStage builds all but the manager, which tests stop and start. What it
// returns must be removed, also with an error.
func newStage(ctx context.Context) (*stage, error) {
	dir, err := os.MkdirTemp("", "ve")
	if err != nil {
		return &stage{}, err
	}
	s := &stage{
		Dir: dir, LabName: "ve" + strconv.FormatInt(int64(os.Getpid()), 36), Skep: os.Getenv("SKEP_BIN"),
		Registry: filepath.Join(dir, "registry"), Tiny: filepath.Join(dir, "tiny"),
	}
	if s.Skep == "" {
		s.Skep = filepath.Join(dir, "skep")
		args := []string{"build", "-o", s.Skep}
		if os.Getenv("SKEP_TEST_RACE") == "1" {
			args = append(args, "-race")
		}
		if err := goTool(ctx, append(args, "github.com/skep/skep/cmd/skep")...); err != nil {
			return s, err
		}
	}
	for path, pkg := range map[string]string{s.Tiny: "./testdata/tiny", s.Registry: "./testdata/registry"} {
		if err := goTool(ctx, "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg); err != nil {
			return s, err
		}
	}
	image, err := s.writeTinyImage()
	if err != nil {
		return s, err
	}
	if s.lab, err = s.newLab(image); err != nil {
		return s, err
	}
	return s, s.lab.Up(ctx, machines)
}

func goTool(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	if args[0] == "build" && args[1] == "-trimpath" {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0") // it runs where there is no libc
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

func (s *stage) newLab(images ...string) (*lab.Lab, error) {
	return lab.New(lab.Config{
		Name: s.LabName, Dir: filepath.Join(s.Dir, "lab"), Exe: s.Skep, Images: images,
		DockerdFlags: []string{"--insecure-registry", registryHost},
		Labels: []lab.Label{
			{Machine: "n1", Key: "rack", Value: "a"},
			{Machine: "n2", Key: "rack", Value: "b"},
			{Machine: "n3", Key: "rack", Value: "c"},
			{Machine: "n3", Key: "disk", Value: "ssd"},
			{Machine: "n3", Key: "containerslots", Value: strconv.Itoa(slotsOfN3)},
			{Key: "zone", Value: "east-1"},
		},
	})
}

func (s *stage) runTests(ctx context.Context) int {
	exe, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	handed, err := json.Marshal(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.CommandContext(ctx, exe, os.Args[1:]...)
	cmd.Env = append(os.Environ(), stageVar+"="+string(handed))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	err = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); err == nil || code > 0 {
		return code
	}
	fmt.Fprintln(os.Stderr, "the tests ended early:", err)
	return 1
}

// remove takes the lab down, and with it every program on its LAN: managers,
// the registry.
func (s *stage) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if s.lab != nil {
		if err := s.lab.Down(ctx); err != nil {
			return err
		}
	}
	if s.Dir == "" {
		return nil
	}
	return os.RemoveAll(s.Dir)
}

// perform runs the tests on a stage that was handed over.
func perform(m *testing.M, given string) int {
	s := new(stage)
	err := json.Unmarshal([]byte(given), s)
	if err == nil {
		s.lab, err = s.newLab()
	}
	if err == nil {
		err = os.MkdirAll(s.configDir(), 0o700)
	}
	if err == nil {
		s.clis = findCLIs()
		s.manager, err = s.startManager("main")
	}
	if err == nil {
		_, err = s.waitEngines(s.manager, machines)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the manager:", err)
		return 1
	}
	onStage = s
	code := m.Run()
	if err := s.manager.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the manager:", err)
		code = max(code, 1)
	}
	return code
}

// configDir is the docker CLI's, so that it is nobody's own.
func (s *stage) configDir() string { return filepath.Join(s.Dir, "docker-config") }
