//go:build linux

package stores_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/kvstore/storetest"
)

// asSkep makes the executable of these tests do what skep does.
const asSkep = "SKEP_TEST_STORES_AS_SKEP"

func TestEtcd_isJoinedThroughItsFailures(t *testing.T) {
	t.Parallel()
	testJoin(t, storetest.StartEtcd(t), "etcd://")
}

func TestZookeeper_isJoinedThroughItsFailures(t *testing.T) {
	t.Parallel()
	testJoin(t, storetest.StartZooKeeper(t), "zk://")
}

// testJoin has `skep join` processes meet all that can happen to a store.
func testJoin(t *testing.T, store *storetest.Server, scheme string) {
	url := scheme + store.Address + "/deep/prefix"
	listed := watchEntries(t, url, discovery.Options{Heartbeat: 2 * time.Second})
	store.Kill()
	a := join(t, url, "a:1")
	a.says(t, "Registering failed")
	store.Start(t)
	listed.await(t, "a:1")
	b := join(t, url, "b:1")
	listed.await(t, "a:1", "b:1")

	store.Restart(t)
	c := join(t, url, "c:1")
	listed.await(t, "a:1", "b:1", "c:1")
	c.ends(t)
	c.says(t, "Deregistered")
	listed.await(t, "a:1", "b:1")

	store.Wipe(t)
	c = join(t, url, "c:1") // so that the list changes
	listed.await(t, "a:1", "b:1", "c:1")
	// A manager keeps what it knew for a heartbeat; the store has lost it until
	// it is announced again.
	const want = "a:1\nb:1\nc:1\n"
	got := list(t, url)
	for until := time.Now().Add(30 * time.Second); got != want && time.Now().Before(until); got = list(t, url) {
		time.Sleep(100 * time.Millisecond)
	}
	if got != want {
		t.Errorf("skep list prints %q", got)
	}
	c.ends(t)
	a.ends(t)
	listed.await(t, "b:1")

	store.Kill()
	b.ends(t)
	b.says(t, "could not be taken back")
}

// process is a skep that runs.
type process struct {
	cmd *exec.Cmd
	log string
}

func join(t *testing.T, url, address string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{log: filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(exe, "join", "--advertise", address, "--heartbeat", "1s", "--ttl", "4s", url)
	p.cmd.Env = append(os.Environ(), asSkep+"=1")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			said, _ := os.ReadFile(p.log)
			t.Logf("skep join of %s has said:\n%s", address, said)
		}
	})
	return p
}

// list runs `skep list`.
func list(t *testing.T, url string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "list", url)
	cmd.Env = append(os.Environ(), asSkep+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("skep list: %v", err)
	}
	return string(out)
}

// ends sends SIGTERM, after which it has to end soon and well, whatever state the
// store is in.
func (p *process) ends(t *testing.T) {
	t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer killer.Stop()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

// says waits until it has printed a text.
func (p *process) says(t *testing.T, text string) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, _ := os.ReadFile(p.log)
		if strings.Contains(string(out), text) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("it never says %q but\n%s", text, out)
		}
	}
}

// entries is what a manager sees.
type entries struct {
	updates <-chan discovery.Update
}

// watchEntries starts a watch that ends with the test.
func watchEntries(t *testing.T, url string, opts discovery.Options) entries {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := entries{open(t, url, opts).Watch(ctx)}
	t.Cleanup(func() {
		cancel()
		for range e.updates {
			// Until it is closed.
		}
	})
	return e
}

// await reads until the entries are the wanted ones.
func (e entries) await(t *testing.T, want ...discovery.Entry) {
	t.Helper()
	await(t, e.updates, func(u discovery.Update) bool {
		got := slices.Clone(u.Entries)
		slices.Sort(got)
		return u.Err == nil && slices.Equal(got, want)
	})
}
