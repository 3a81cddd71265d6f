//go:build linux

package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	// goneTimeout bounds the wait for the end of killed processes.
	goneTimeout = 20 * time.Second
	pollEvery   = 5 * time.Millisecond
)

// procStat is the part of proc_pid_stat(5) that we need.
type procStat struct {
	comm    string
	state   byte // R, S, D, T, Z, …
	ppid    int
	threads int
	start   uint64
}

// zombie reports that the first thread has ended. There may be others.
func (st procStat) zombie() bool { return st.state == 'Z' || st.state == 'X' }

func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(data)
}

// parseStat reads a line of /proc/PID/stat. The command name is in brackets
// and may hold anything, brackets too.
func parseStat(line []byte) (procStat, error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("unreadable process status %q", line)
	}
	fields := bytes.Fields(line[end+1:])
	if len(fields) < 20 {
		return procStat{}, fmt.Errorf("unreadable process status %q", line)
	}
	ppid, err1 := strconv.Atoi(string(fields[1]))
	threads, err2 := strconv.Atoi(string(fields[17]))
	start, err3 := strconv.ParseUint(string(fields[19]), 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return procStat{}, fmt.Errorf("unreadable process status %q: %w", line, err)
	}
	return procStat{comm: string(line[open+1 : end]), state: fields[0][0], ppid: ppid, threads: threads, start: start}, nil
}

// identify returns the process that has this pid now.
func identify(pid int) (process, error) {
	st, err := readStat(pid)
	if err != nil {
		return process{}, err
	}
	return process{PID: pid, Start: st.start}, nil
}

// stat is p's status; ok is false when p is no more. A zombie without another
// thread is no more: its memory, files and namespaces are gone.
func (p process) stat() (st procStat, ok bool) {
	if p.PID == 0 {
		return st, false
	}
	st, err := readStat(p.PID)
	return st, err == nil && st.start == p.Start && !(st.zombie() && st.threads <= 1)
}

func (p process) alive() bool {
	_, ok := p.stat()
	return ok
}

// signal sends sig to p and to no later process with its pid; one that is gone
// is no error.
func (p process) signal(sig syscall.Signal) error {
	if p.PID == 0 {
		return nil
	}
	handle, err := os.FindProcess(p.PID) // holds a pidfd, so what is checked next is what gets the signal
	if err != nil {
		return fmt.Errorf("find process %d: %w", p.PID, err)
	}
	defer handle.Release()
	if !p.alive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to process %d: %w", sig, p.PID, err)
	}
	return nil
}

// kill ends all of list with SIGKILL and waits until they are gone.
func kill(ctx context.Context, list ...process) error {
	var errs []error
	for _, p := range list {
		errs = append(errs, p.signal(syscall.SIGKILL))
	}
	return errors.Join(append(errs, waitGone(ctx, goneTimeout, list...))...)
}

// killMachine ends pid 1 of a machine and with it every process of the machine,
// and waits until all of them have let go of files, mounts and network. Those
// in paused containers, below cgroup, are thawed to die.
func killMachine(ctx context.Context, init process, cgroup string) error {
	ns := namespaceOf(init.PID, "pid")
	if !init.alive() || ns == "" {
		return thawCgroups(cgroup)
	}
	if err := init.signal(syscall.SIGKILL); err != nil {
		return err
	}
	// Only now: what is thawed must not run on.
	if err := thawCgroups(cgroup); err != nil {
		return err
	}
	var list []process
	var failed error
	gone := func() bool {
		// A thread of pid 1 stays until the last zombie of its namespace is
		// reaped, which may be up to a parent outside. Nothing depends on that.
		if st, ok := init.stat(); ok && !st.zombie() {
			return false
		}
		list, failed = processes(func(pid int) bool {
			return pid != init.PID && namespaceOf(pid, "pid") == ns
		})
		return len(list) == 0
	}
	if err := poll(ctx, goneTimeout, gone); err != nil {
		return fmt.Errorf("wait for the end of the machine's processes %v: %w", list, err)
	}
	return failed
}

// waitGone waits until none of list is alive.
func waitGone(ctx context.Context, timeout time.Duration, list ...process) error {
	err := poll(ctx, timeout, func() bool {
		list = slices.DeleteFunc(slices.Clone(list), func(p process) bool { return !p.alive() })
		return len(list) == 0
	})
	if err != nil {
		return fmt.Errorf("wait for the end of process %d: %w", list[0].PID, err)
	}
	return nil
}

// poll waits until done says so.
func poll(ctx context.Context, timeout time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not within %s", timeout))
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// processes lists the processes of the host for which keep is true. One that
// ends meanwhile is left out.
func processes(keep func(pid int) bool) ([]process, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var list []process
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Identified before and looked at again after: a pid that changed hands
		// between is not taken for the one that was looked at.
		p, err := identify(pid)
		if err == nil && keep(pid) && p.alive() {
			list = append(list, p)
		}
	}
	return list, nil
}

// commandLine returns the arguments of a process; none for a kernel thread.
func commandLine(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(data) == 0 {
		return nil
	}
	var args []string
	for arg := range bytes.SplitSeq(bytes.TrimSuffix(data, []byte{0}), []byte{0}) {
		args = append(args, string(arg))
	}
	return args
}

// namespaceOf names a namespace of a process, as in net:[4026531833].
func namespaceOf(pid int, kind string) string {
	name, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", kind))
	if err != nil {
		return ""
	}
	return name
}

// findInits returns the processes that are pid 1 of the named machine, also
// when no state file tells of them: known by their command line.
func (l layout) findInits(machine string) ([]process, error) {
	want := l.initArgs(machine)
	return processes(func(pid int) bool {
		args := commandLine(pid)
		return len(args) > 1 && slices.Equal(args[1:], want)
	})
}

// findEngine returns the dockerd of a machine, zero when there is none.
func (l layout) findEngine(machine string, init process) (process, error) {
	ns := namespaceOf(init.PID, "pid")
	if ns == "" || !init.alive() {
		return process{}, nil
	}
	found, err := processes(func(pid int) bool {
		args := commandLine(pid)
		at := slices.Index(args, "--data-root")
		return at > 0 && at+1 < len(args) && args[at+1] == l.data(machine) && namespaceOf(pid, "pid") == ns
	})
	if err != nil || len(found) == 0 {
		return process{}, err
	}
	return slices.MinFunc(found, func(a, b process) int { return cmp.Compare(a.Start, b.Start) }), nil
}

// containerdOf returns the containerd that this dockerd runs, if any.
func containerdOf(engine process) ([]process, error) {
	return processes(func(pid int) bool {
		st, err := readStat(pid)
		return err == nil && st.ppid == engine.PID && st.comm == "containerd"
	})
}
