//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skep/skep/internal/lab"
	"github.com/skep/skep/internal/lab/labtest"
)

// getEnv makes this test binary a program that gets a URL: what runs on the LAN.
const getEnv = "LAB_TEST_GET"

func TestMain(m *testing.M) {
	if url := os.Getenv(getEnv); url != "" {
		body, err := get(http.DefaultTransport, url, time.Second)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Print(body)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestLab(t *testing.T) {
	labtest.Skip(t)
	ctx := t.Context()
	exe := labtest.Binary(t)
	l := labtest.New(t, lab.Config{Exe: exe, Labels: []lab.Label{{Machine: "n2", Key: "rack", Value: "b"}}})
	other := labtest.New(t, lab.Config{Exe: exe})

	// All at once: a lab, the same lab again, and another one beside it.
	var wg sync.WaitGroup
	for _, up := range []func() error{
		func() error { return l.Up(ctx, 2) },
		func() error { return l.Up(ctx, 1) },
		func() error { return other.Up(ctx, 1) },
	} {
		wg.Go(func() {
			if err := up(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	n1, n2 := l.Machines()[0], l.Machines()[1]
	id1 := info(t, n1).ID

	t.Run("each machine has an engine of its own", func(t *testing.T) {
		i1, i2, o1 := info(t, n1), info(t, n2), info(t, other.Machines()[0])
		if i1.Name != "n1" || i2.Name != "n2" {
			t.Errorf("engines are called %s and %s", i1.Name, i2.Name)
		}
		if i1.ID == i2.ID || i1.ID == o1.ID {
			t.Errorf("engines share an ID: %s %s %s", i1.ID, i2.ID, o1.ID)
		}
		if want := []string{"lab.node=n2", "rack=b"}; !slices.Equal(slices.Sorted(slices.Values(i2.Labels)), want) {
			t.Errorf("n2 has labels %q, want %q", i2.Labels, want)
		}
	})
	t.Run("up again restarts nothing", func(t *testing.T) {
		before := pids(t, l)
		if err := l.Up(ctx, 2); err != nil {
			t.Fatal(err)
		}
		if after := pids(t, l); !slices.Equal(before, after) {
			t.Errorf("engines were %d and are %d", before, after)
		}
	})
	t.Run("the LAN reaches engines over TCP, each lab its own", func(t *testing.T) {
		for _, l := range []*lab.Lab{l, other} {
			m := l.Machines()[0]
			body, err := getOnLAN(t, l, "http://"+m.TCP()+"/info")
			if err != nil || !strings.Contains(body, info(t, m).ID) {
				t.Errorf("lab %s: %s answers %.80q, %v", l.Name(), m.TCP(), body, err)
			}
		}
	})
	t.Run("programs run inside", func(t *testing.T) {
		testCommand(t, l)
	})
	t.Run("images and identity outlive a power cut", func(t *testing.T) {
		const ref = "lab-test:1"
		if err := l.Load(ctx, labtest.ImageTar(t, ref, map[string][]byte{"hello": []byte("hello")})); err != nil {
			t.Fatal(err)
		}
		if err := l.Crash(ctx, "n1"); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, "n1", lab.StateOff)
		if body, err := getOnLAN(t, l, "http://"+n1.TCP()+"/_ping"); err == nil {
			t.Errorf("a machine without power answers %q", body)
		}
		if err := l.Start(ctx, "n1"); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, "n1", lab.StateRunning)
		for _, m := range l.Machines() {
			if _, err := engine(m, "/images/"+ref+"/json"); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
		if got := info(t, n1).ID; got != id1 {
			t.Errorf("the engine was %s and is %s", id1, got)
		}
	})
	t.Run("a paused engine accepts and does not answer", func(t *testing.T) {
		if err := l.Pause(ctx, "n2"); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, "n2", lab.StatePaused)
		conn, err := net.Dial("unix", n2.Socket)
		if err != nil {
			t.Errorf("it does not accept: %v", err)
		} else {
			conn.Close()
		}
		if body, err := engine(n2, "/_ping"); err == nil {
			t.Errorf("it answers %q", body)
		}
		if err := l.Unpause(ctx, "n2"); err != nil {
			t.Fatal(err)
		}
		if _, err := engine(n2, "/_ping"); err != nil {
			t.Errorf("it does not go on: %v", err)
		}
	})
	t.Run("a cut machine is off the LAN but not dead", func(t *testing.T) {
		if err := l.Cut(ctx, "n2"); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, "n2", lab.StateCut)
		if body, err := getOnLAN(t, l, "http://"+n2.TCP()+"/_ping"); err == nil {
			t.Errorf("it answers %q", body)
		}
		if _, err := engine(n2, "/_ping"); err != nil {
			t.Errorf("its engine is not well: %v", err)
		}
		if err := l.Heal(ctx, "n2"); err != nil {
			t.Fatal(err)
		}
		// Whoever asked for its address in vain asks again after a second.
		for try := 1; ; try++ {
			if _, err := getOnLAN(t, l, "http://"+n2.TCP()+"/_ping"); err == nil {
				break
			} else if try == 5 {
				t.Fatalf("it does not come back: %v", err)
			}
		}
	})
	t.Run("engines stop and are killed while their machines stay on", func(t *testing.T) {
		for name, end := range map[string]func(context.Context, ...string) error{"n1": l.Kill, "n2": l.Stop} {
			if err := end(ctx, name); err != nil {
				t.Fatal(err)
			}
			wantState(t, l, name, lab.StateStopped)
		}
		if err := l.Start(ctx, "n1", "n2"); err != nil {
			t.Fatal(err)
		}
		wantState(t, l, "n1", lab.StateRunning)
		wantState(t, l, "n2", lab.StateRunning)
	})
	t.Run("down leaves nothing", func(t *testing.T) {
		program := l.Command(ctx, lab.Hub, "sh", "-c", "echo ready; exec sleep 1000")
		awaitReady(t, program)
		// The other lab has lost its records.
		if err := os.Remove(filepath.Join(other.Dir(), "state.json")); err != nil {
			t.Fatal(err)
		}
		for _, l := range []*lab.Lab{l, other} {
			for range 2 { // the second time there is nothing to do
				if err := l.Down(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for _, left := range leftovers(t, l) {
				t.Errorf("lab %s leaves %s", l.Name(), left)
			}
		}
		if err := program.Wait(); err == nil {
			t.Error("a program on the LAN ended well, want it to be ended")
		}
	})
}

func testCommand(t *testing.T, l *lab.Lab) {
	ctx := t.Context()
	cmd := l.Command(ctx, "n1", "sh", "-c", "read line; echo $line on $(hostname), pid 1 is $(cat /proc/1/comm); exit 7")
	cmd.Stdin = strings.NewReader("hello\n")
	out, err := cmd.Output()
	if got, want := string(out), "hello on n1, pid 1 is lab-n1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("got %v, want exit status 7", err)
	}
	for _, target := range []string{"n1", lab.Hub} {
		cmd = l.Command(ctx, target, "no-such-program")
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 127 {
			t.Errorf("no such program in %s: got %v, want exit status 127", target, err)
		}
	}
	if err := l.Command(ctx, "n7", "true").Run(); err == nil || !strings.Contains(err.Error(), "n7") {
		t.Errorf("no such machine: got %v", err)
	}

	// A signal to the command is a signal to the program.
	cmd = l.Command(ctx, "n1", "sh", "-c", `trap "echo ended; exit 3" TERM; echo ready; while :; do read never; done`)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	pipe := awaitReady(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(pipe)
	if err := errors.Join(err, cmd.Wait()); string(rest) != "ended\n" || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("got %q and %v, want a program that was told to end", rest, err)
	}
}

// awaitReady starts a program and waits until it says "ready" as its first
// line. It returns the rest of its output.
func awaitReady(t *testing.T, cmd *exec.Cmd) io.Reader {
	t.Helper()
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(pipe, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	return pipe
}

type engineInfo struct {
	ID     string
	Name   string
	Labels []string
}

func info(t *testing.T, m lab.Machine) (i engineInfo) {
	t.Helper()
	body, err := engine(m, "/info")
	if err == nil {
		err = json.Unmarshal([]byte(body), &i)
	}
	if err != nil {
		t.Fatalf("%s: %v", m.Name, err)
	}
	return i
}

// engine gets a path from a machine's engine over its unix socket.
func engine(m lab.Machine, path string) (string, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", m.Socket)
	}}
	return get(transport, "http://engine"+path, 2*time.Second)
}

func get(transport http.RoundTripper, url string, timeout time.Duration) (string, error) {
	client := http.Client{Transport: transport, Timeout: timeout}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}

// getOnLAN gets a URL as a program on the lab's LAN does.
func getOnLAN(t *testing.T, l *lab.Lab, url string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := l.Command(t.Context(), lab.Hub, self)
	// The race detector waits a second at the end of a program, unless told not to.
	cmd.Env = append(os.Environ(), getEnv+"="+url, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.Output()
	return string(out), err
}

func pids(t *testing.T, l *lab.Lab) (list []int) {
	t.Helper()
	all, err := l.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range all {
		if st.PID == 0 {
			t.Errorf("%s is %s", st.Name, st.State)
		}
		list = append(list, st.PID)
	}
	return list
}

func wantState(t *testing.T, l *lab.Lab, name string, want lab.State) {
	t.Helper()
	all, err := l.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range all {
		if st.Name == name && st.State != want {
			t.Errorf("%s is %s, want %s", name, st.State, want)
		}
	}
}

// leftovers names everything on this host that a lab has not cleared away.
func leftovers(t *testing.T, l *lab.Lab) (left []string) {
	t.Helper()
	for _, pattern := range []string{l.Dir(), "/run/netns/" + l.Name() + "-*", "/sys/fs/cgroup/" + l.Name(), "/sys/fs/cgroup/*/" + l.Name()} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	// Processes of it, and any process that still holds a mount of it.
	for _, file := range []string{"cmdline", "mountinfo"} {
		found, err := filepath.Glob("/proc/[0-9]*/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			data, err := os.ReadFile(path)
			if err == nil && (bytes.Contains(data, []byte(l.Dir())) || bytes.Contains(data, []byte("/"+l.Name()+"-hub"))) {
				left = append(left, path)
			}
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if strings.HasPrefix(link.Name, l.Name()) {
			left = append(left, "link "+link.Name)
		}
	}
	return left
}
