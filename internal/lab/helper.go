//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// helperArgs are the arguments with which the skep executable comes to
// RunHelper.
func helperArgs(mode string, args ...string) []string {
	return append([]string{"lab", "machine", mode}, args...)
}

// RunHelper does the part of the work that needs a process of its own. The
// command "skep lab machine" hands it its arguments; nobody else calls it:
//
//	boot NETNS DIR MACHINE        start a machine, print a bootReport
//	init DIR MACHINE              be pid 1 of a machine
//	start PID START LOG CMD...    start a program in a machine, to stay
//	spawn LOG CMD...              the inner half of start
//	enter PID START CMD...        run a program in a machine
//	become CMD...                 the inner half of enter
//	join NETNS CMD...             become a program in the LAN
//
// It returns the exit status to end with.
func RunHelper(args []string, out io.Writer) (int, error) {
	mode, rest := "", args
	if len(args) > 0 {
		mode, rest = args[0], args[1:]
	}
	switch {
	case mode == "boot" && len(rest) == 3:
		return 0, startInit(rest[0], layout{dir: rest[1]}, rest[2], out)
	case mode == "init" && len(rest) == 2:
		return 1, runInit(rest[0], rest[1])
	case mode == "start" && len(rest) > 3:
		init, err := parseProcess(rest[0], rest[1])
		if err != nil {
			return 1, err
		}
		return 0, startInside(init, rest[2], rest[3:])
	case mode == "spawn" && len(rest) > 1:
		return 0, spawn(rest[0], rest[1:])
	case mode == "enter" && len(rest) > 2:
		init, err := parseProcess(rest[0], rest[1])
		if err != nil {
			return 1, err
		}
		return enter(init, rest[2:])
	case mode == "become" && len(rest) > 1:
		return become(rest[0], rest[1:])
	case mode == "join" && len(rest) > 1:
		return join(rest[0], rest[1:])
	}
	return 1, errors.New("skep lab machine is for skep itself; see skep lab --help")
}

func (p process) args() []string {
	return []string{strconv.Itoa(p.PID), strconv.FormatUint(p.Start, 10)}
}

func parseProcess(pid, start string) (p process, err error) {
	p.PID, err = strconv.Atoi(pid)
	if err == nil {
		p.Start, err = strconv.ParseUint(start, 10, 64)
	}
	if err != nil {
		return p, fmt.Errorf("read process id: %w", err)
	}
	return p, nil
}

// joinMachine puts the current thread into the namespaces of the machine whose
// pid 1 is init; of the process namespace, what the thread starts. The thread
// must be locked, and is good for nothing else afterwards.
func joinMachine(init process) error {
	// In this order: after the mount namespace, /proc is another.
	kinds := []struct {
		name string
		flag int
	}{
		{"net", unix.CLONE_NEWNET}, {"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS},
		{"pid", unix.CLONE_NEWPID}, {"mnt", unix.CLONE_NEWNS},
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close() // an open one would keep the namespace alive
		}
	}()
	for _, k := range kinds {
		f, err := os.Open(filepath.Join("/proc", strconv.Itoa(init.PID), "ns", k.name))
		if err != nil {
			return errOff
		}
		files = append(files, f)
	}
	if !init.alive() {
		return errOff
	}
	// Threads share root and working directory; one that changes its mount
	// namespace must have its own: setns(2).
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter machine: %w", err)
	}
	for i, k := range kinds {
		if err := unix.Setns(int(files[i].Fd()), k.flag); err != nil {
			return fmt.Errorf("enter %s namespace of machine: %w", k.name, err)
		}
	}
	return nil
}

var errOff = errors.New("the machine is off; skep lab start boots it")

// startInside starts a program in a machine that outlives this helper, with
// its output appended to log. An orphan goes to pid 1 of the namespace that its
// parent lived in, so the parent must be one that lived in the machine: else
// the host's pid 1 would have to reap the machine's engine.
func startInside(init process, log string, argv []string) error {
	runtime.LockOSThread()
	if err := joinMachine(init); err != nil {
		return err
	}
	cmd := exec.Command(selfExe)
	cmd.Args = append([]string{"skep"}, helperArgs("spawn", append([]string{log}, argv...)...)...)
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("start %s in machine: %w", argv[0], err)
	}
	return nil
}

// spawn starts a program in a session of its own and leaves it behind.
func spawn(log string, argv []string) error {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if err := keepNoFiles(); err != nil {
		return err
	}
	// As many open files as may be, as the service managers set for engines.
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		files.Cur = files.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", argv[0], err)
	}
	return nil
}
