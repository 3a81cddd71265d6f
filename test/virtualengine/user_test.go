//go:build linux

package virtualengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eventTime is how soon the manager must know what happened on an engine behind
// its back.
const eventTime = 2 * time.Second

// commandTimeout is longer than any command of these tests may take.
const commandTimeout = time.Minute

// cli is a stock docker CLI.
type cli struct {
	path    string
	version string
}

// findCLIs finds the stock CLIs of this machine: the one in PATH first.
func findCLIs() []cli {
	paths := []string{"docker", "/usr/local/bin/docker", "/usr/bin/docker"}
	paths = append(paths, filepath.SplitList(os.Getenv("SKEP_TEST_DOCKER_CLIS"))...)
	var found []cli
	for _, path := range paths {
		path, err := exec.LookPath(path)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil || slices.ContainsFunc(found, func(c cli) bool { return c.path == path }) {
			continue
		}
		out, err := exec.Command(path, "--version").Output()
		if version := regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(out)); err == nil && version != "" {
			found = append(found, cli{path, version})
		}
	}
	return found
}

// user is somebody with a docker CLI and a DOCKER_HOST, in one test.
type user struct {
	t     *testing.T
	stage *stage
	cli   cli
	host  string
	boss  *manager // that host belongs to, if one
	stdin string
	env   []string
}

// newUser begins a test: with a user of the manager, and with nothing on the
// engines but the image tiny.
func newUser(t *testing.T) *user {
	t.Helper()
	if unsupported != nil {
		t.Skipf("no real engines here: %v", unsupported)
	}
	u := &user{t: t, stage: onStage, cli: onStage.clis[0], host: onStage.manager.host(), boss: onStage.manager}
	u.sweep()
	logged := onStage.manager.logSize()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the manager's log of this test:\n%s", onStage.manager.logFrom(logged))
		}
	})
	return u
}

// sub runs a part of the test under a sentence that says what is so.
func (u *user) sub(sentence string, do func(u *user)) {
	u.t.Helper()
	u.t.Run(sentence, func(t *testing.T) {
		v := *u
		v.t = t
		do(&v)
	})
}

// on is the same user at the CLI of one engine, behind the manager's back.
func (u *user) on(machine string) *user {
	v := *u
	for _, m := range u.stage.lab.Machines() {
		if m.Name == machine {
			v.host, v.boss = m.Host(), nil
			return &v
		}
	}
	u.t.Fatalf("no machine %s", machine)
	return nil
}

// with is the same user with another CLI.
func (u *user) with(c cli) *user {
	v := *u
	v.cli = c
	return &v
}

// at is the same user at another manager.
func (u *user) at(m *manager) *user {
	v := *u
	v.host, v.boss = m.host(), m
	return &v
}

// typing is the same user with this on standard input.
func (u *user) typing(stdin string) *user {
	v := *u
	v.stdin = stdin
	return &v
}

// setting is the same user with these environment variables.
func (u *user) setting(env ...string) *user {
	v := *u
	v.env = append(slices.Clip(v.env), env...)
	return &v
}

func (u *user) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, u.cli.path, args...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + u.stage.Dir, "TERM=xterm", "LANG=C.UTF-8",
		"DOCKER_HOST=" + u.host, "DOCKER_CONFIG=" + u.stage.configDir(),
		"DOCKER_BUILDKIT=0", "DOCKER_CLI_HINTS=false",
	}, u.env...)
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// result is what a command has printed and how it ended.
type result struct {
	u      *user
	args   []string
	stdout string
	stderr string
	code   int
	took   time.Duration
}

// docker runs a command to its end, however it ends.
func (u *user) docker(args ...string) result {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), commandTimeout)
	defer cancel()
	cmd := u.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(u.stdin), &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	r := result{u: u, args: args, stdout: stdout.String(), stderr: stderr.String(), took: time.Since(began)}
	r.code = u.exitCode(err, r)
	return r
}

func (u *user) exitCode(err error, r fmt.Stringer) int {
	u.t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	case errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL:
		return 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
	}
	u.t.Fatalf("the command did not end: %v\n%s", err, r)
	return -1
}

func (r result) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "$ docker %s", strings.Join(r.args, " "))
	if r.u.cli != r.u.stage.clis[0] {
		fmt.Fprintf(&s, "  # %s", r.u.cli.version)
	}
	fmt.Fprintf(&s, "\n[status %d after %s]", r.code, r.took.Round(time.Millisecond))
	if r.stdout != "" {
		fmt.Fprintf(&s, "\nstdout:\n%s", shorten(r.stdout))
	}
	if r.stderr != "" {
		fmt.Fprintf(&s, "\nstderr:\n%s", shorten(r.stderr))
	}
	return s.String()
}

// shorten keeps the failure of a test readable.
func shorten(s string) string {
	const most = 4000
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s\n… %d bytes left out …\n%s", s[:most/2], len(s)-most, s[len(s)-most/2:])
}

// exits says how the command must have ended.
func (r result) exits(code int) result {
	r.u.t.Helper()
	if r.code != code {
		r.u.t.Fatalf("status %d, want %d\n%s", r.code, code, r)
	}
	return r
}

// ok says that the command must have succeeded.
func (r result) ok() result {
	r.u.t.Helper()
	return r.exits(0)
}

// prints says what must be on standard output, and nothing else.
func (r result) prints(want string) result {
	r.u.t.Helper()
	if r.stdout != want {
		r.u.t.Errorf("standard output is %q, want %q\n%s", shorten(r.stdout), shorten(want), r)
	}
	return r
}

// printed is prints for what is tried until it holds: an error until then.
func (r result) printed(want string) error {
	if r.stdout != want {
		return fmt.Errorf("standard output is not %q\n%s", want, r)
	}
	return nil
}

// shows says what must be somewhere on standard output.
func (r result) shows(want ...string) result {
	r.u.t.Helper()
	for _, w := range want {
		if !strings.Contains(r.stdout, w) {
			r.u.t.Errorf("standard output lacks %q\n%s", w, r)
		}
	}
	return r
}

// complains says what must be somewhere on standard error.
func (r result) complains(want ...string) result {
	r.u.t.Helper()
	for _, w := range want {
		if !strings.Contains(r.stderr, w) {
			r.u.t.Errorf("standard error lacks %q\n%s", w, r)
		}
	}
	return r
}

// silent says that nothing may be on standard error.
func (r result) silent() result {
	r.u.t.Helper()
	if r.stderr != "" {
		r.u.t.Errorf("standard error is not empty\n%s", r)
	}
	return r
}

// within says how long the command may have taken.
func (r result) within(most time.Duration) result {
	r.u.t.Helper()
	if r.took > most {
		r.u.t.Errorf("took %s, more than %s\n%s", r.took.Round(time.Millisecond), most, r)
	}
	return r
}

// lines are the lines of standard output.
func (r result) lines() []string {
	if strings.TrimSpace(r.stdout) == "" {
		return nil
	}
	return strings.Split(strings.TrimRight(r.stdout, "\n"), "\n")
}

// out runs a command that must succeed and gives its output without the last
// newline.
func (u *user) out(args ...string) string {
	u.t.Helper()
	return strings.TrimRight(u.docker(args...).ok().stdout, "\n")
}

// run starts a container in the background and gives its ID. Networks cost
// time, so there is none unless args ask for one.
func (u *user) run(args ...string) string {
	u.t.Helper()
	given := slices.ContainsFunc(args, func(a string) bool {
		return strings.HasPrefix(a, "--net") || a == "-p" || a == "-P" || a == "--link"
	})
	if !given {
		args = append([]string{"--network", "none"}, args...)
	}
	return u.out(append([]string{"run", "-d"}, args...)...)
}

// inspect gives a template's value for a container.
func (u *user) inspect(format, container string) string {
	u.t.Helper()
	return u.out("inspect", "--type", "container", "--format", format, container)
}

// nodeOf says on which node a container is.
func (u *user) nodeOf(container string) string {
	u.t.Helper()
	return u.inspect("{{.Node.Name}}", container)
}

// names are the containers that `docker ps` lists with these arguments.
func (u *user) names(args ...string) []string {
	u.t.Helper()
	return u.docker(append([]string{"ps", "--format", "{{.Names}}"}, args...)...).ok().lines()
}

// eventually repeats a check until it is content.
func (u *user) eventually(within time.Duration, check func() error) time.Duration {
	u.t.Helper()
	began := time.Now()
	for {
		err := check()
		took := time.Since(began)
		if err == nil {
			return took
		}
		if took > within {
			u.t.Fatalf("not within %s: %v", within, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// equal compares two values of a test.
func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// sameList compares two lists.
func sameList(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s are %q, want %q", what, got, want)
	}
}

// sorted is a sorted copy.
func sorted(list ...string) []string {
	return slices.Sorted(slices.Values(list))
}
