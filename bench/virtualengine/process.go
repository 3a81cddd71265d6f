package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/skep/skep/internal/simengine"
)

// simulate is the simulator: it writes its addresses as one line of JSON and
// serves until stdin ends, which it does when the benchmark is gone.
func simulate(ctx context.Context, o options) error {
	fleet, err := simengine.Listen(simengine.FleetConfig{Engines: o.engines, Containers: o.containers, Latency: o.latency})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with stdin, and the process with it
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := json.NewEncoder(os.Stdout).Encode(fleet.Addresses()); err != nil {
		return err
	}
	fleet.Run(ctx)
	return nil
}

// process is a child that ends with the benchmark.
type process struct {
	cmd    *exec.Cmd
	words  tail
	socket string
	tcp    string
	began  time.Time
}

func start(name string, args ...string) *process {
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = &p.words
	return p
}

// stop asks the process to end, and makes it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait()
}

func (p *process) lastWords() string { return p.words.String() }

// tail keeps the end of what a process says.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu; at most tailSize
}

const tailSize = 4096

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

func startSimulator(ctx context.Context, o options) (*process, []string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	p := start(self, "-simulate", "-engines", strconv.Itoa(o.engines), "-containers", strconv.Itoa(o.containers), "-latency", o.latency.String())
	if _, err := p.cmd.StdinPipe(); err != nil { // held open until this process ends
		return nil, nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start the simulator: %w", err)
	}
	var addresses []string
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &addresses)
	}
	if err = errors.Join(err, ctx.Err()); err != nil {
		p.stop()
		return nil, nil, fmt.Errorf("start the simulator: %w: %s", err, p.lastWords())
	}
	return p, addresses, nil
}

// startManager starts skep on a socket and on a loopback port.
func startManager(o options, addresses []string) (*process, error) {
	list := filepath.Join(o.dir, "engines")
	if err := os.WriteFile(list, []byte(strings.Join(addresses, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(o.dir, "skep.sock")
	args := []string{"manage", "-H", "unix://" + socket, "-H", "tcp://" + port, "--state-dir", filepath.Join(o.dir, "state")}
	if o.profiles != "" {
		args = append(args, "--metrics-addr", "unix://"+filepath.Join(o.dir, metricsSocket))
	}
	p := start(o.skep, append(args, "file://"+list)...)
	p.socket, p.tcp, p.began = socket, port, time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start skep: %w", err)
	}
	return p, nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// memory reads the resident memory and its highest value, in MiB.
func (p *process) memory() (now, highest float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	read := func(key string) float64 {
		_, rest, _ := strings.Cut(string(status), "\n"+key+":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			return 0
		}
		kib, _ := strconv.ParseFloat(fields[0], 64)
		return kib / 1024
	}
	return read("VmRSS"), read("VmHWM"), nil
}

// cpu reads the processor time the process has used.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// Behind the name in parentheses, which may hold anything, utime and stime
	// are fields 12 and 13, in ticks of 10 ms.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is too short", p.cmd.Process.Pid)
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}
