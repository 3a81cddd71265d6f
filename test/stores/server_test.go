//go:build linux

package stores_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// server is a program that the test has started.
type server struct {
	name    string
	address string
	args    []string
	ready   func(ctx context.Context) error

	cmd *exec.Cmd
	log string // the file that holds what it has printed
}

// tail gives the end of what it has printed.
func (s *server) tail() string {
	text, _ := os.ReadFile(s.log)
	return string(text[max(0, len(text)-4000):])
}

// program finds a program, or skips the test.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: %v", name, err)
	}
	return path
}

// freePort is a port of the loopback interface that nobody uses.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// start starts the server, now and after each stop. It ends with the test, or
// with the process of the test.
func (s *server) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	// A file, not a pipe: no goroutine of the test goes with it.
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", s.name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for {
		err := s.ready(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s is not ready: %v\n%s", s.name, err, s.tail())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stop kills it, so that it can prepare nothing for its end.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

func (s *server) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
}

func (s *server) pause(t *testing.T) {
	s.signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { s.resume(t) })
	// Its threads stop one by one, and meanwhile some still answer.
	for until := time.Now().Add(10 * time.Second); !s.stopped(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s does not stop", s.name)
		}
	}
}

// stopped tells whether all threads of the server are stopped.
func (s *server) stopped() bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		// The state stands behind the name, which is in parentheses.
		if i := bytes.LastIndex(stat, []byte(") ")); err == nil && (i < 0 || stat[i+2] != 'T') {
			return false
		}
	}
	return len(stats) > 0
}

func (s *server) resume(t *testing.T) { s.signal(t, syscall.SIGCONT) }

func (s *server) restart(t *testing.T) {
	s.stop()
	s.start(t)
}

// startEtcd starts an etcd of one member.
func startEtcd(t *testing.T) *server {
	t.Helper()
	path := program(t, "etcd")
	dir := t.TempDir()
	clients, peers := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s := &server{name: "etcd", address: clients, log: filepath.Join(dir, "log"), args: []string{path,
		"--name", "skep-test", "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://" + clients, "--advertise-client-urls", "http://" + clients,
		"--listen-peer-urls", "http://" + peers, "--initial-advertise-peer-urls", "http://" + peers,
		"--initial-cluster", "skep-test=http://" + peers, "--logger", "zap", "--log-level", "warn",
	}}
	if !hasFlag(path, "--unsafe-no-fsync") {
		s.args = append(s.args[:5], s.args[6:]...)
	}
	s.ready = func(ctx context.Context) error {
		return exchange(ctx, clients, "GET /health HTTP/1.0\r\n\r\n", `"true"`)
	}
	t.Cleanup(s.stop)
	s.start(t)
	return s
}

func hasFlag(program, flag string) bool {
	out, _ := exec.Command(program, "--help").CombinedOutput()
	return bytes.Contains(out, []byte(flag))
}

// zookeeperJar is where Debian puts ZooKeeper; it names its dependencies itself.
const zookeeperJar = "/usr/share/java/zookeeper.jar"

// startZookeeper starts a ZooKeeper of one server, whose sessions may be as
// short as a second.
func startZookeeper(t *testing.T) *server {
	t.Helper()
	java := program(t, "java")
	if _, err := os.Stat(zookeeperJar); err != nil {
		t.Skipf("zookeeper is not installed: %v", err)
	}
	dir := t.TempDir()
	port := freePort(t)
	config := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("tickTime=500\ndataDir=%s\nclientPort=%d\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=ruok,srvr\nfsync.warningthresholdms=10000\n",
		filepath.Join(dir, "data"), port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{name: "zookeeper", address: "127.0.0.1:" + strconv.Itoa(port), log: filepath.Join(dir, "log"), args: []string{java,
		"-Xmx128m", "-XX:+UseSerialGC", "-Dzookeeper.jmx.log4j.disable=true", "-cp", zookeeperJar,
		"org.apache.zookeeper.server.ZooKeeperServerMain", config,
	}}
	s.ready = func(ctx context.Context) error { return exchange(ctx, s.address, "srvr", "Mode: standalone") }
	t.Cleanup(s.stop)
	s.start(t)
	return s
}

// exchange asks a server and looks for a text in its answer.
func exchange(ctx context.Context, address, question, want string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Write([]byte(question)); err != nil {
		return err
	}
	var got bytes.Buffer
	_, err = got.ReadFrom(c)
	if !bytes.Contains(got.Bytes(), []byte(want)) {
		return fmt.Errorf("answer %q, %v", got.String(), err)
	}
	return nil
}
