//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit statuses of a program that could not be run, as shells have them.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // plus the signal's number
)

// Command returns a command that runs name with args in target: a machine, or
// Hub. It is an exec.Cmd like any other; cancelling ctx sends SIGTERM, and
// SIGKILL ten seconds later. A program in a machine sees the machine's engine
// as the default one (DOCKER_HOST is taken out of its environment); one in the
// LAN has the host's files and processes.
func (l *Lab) Command(ctx context.Context, target, name string, args ...string) *exec.Cmd {
	helper, err := l.commandArgs(target)
	cmd := exec.CommandContext(ctx, l.cfg.Exe, append(append(helper, name), args...)...)
	if err != nil {
		cmd.Err = err
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

func (l *Lab) commandArgs(target string) ([]string, error) {
	if err := requireRoot(); err != nil {
		return nil, err
	}
	if target == Hub {
		own, err := ownNetns(l.netns(Hub), l.mark())
		if err == nil && !own {
			err = l.errNone()
		}
		return helperArgs("join", l.netns(Hub)), err
	}
	init, err := l.initOf(target)
	return helperArgs("enter", init.args()...), err
}

// Exec runs argv in target like Command, with the standard streams, the
// terminal and the signals of this program, and returns its exit status. In
// the LAN the program takes the place of this one, and Exec returns only when
// that fails.
func (l *Lab) Exec(target string, argv []string) (int, error) {
	if target == Hub {
		if _, err := l.commandArgs(Hub); err != nil {
			return 1, err
		}
		return join(l.netns(Hub), argv)
	}
	init, err := l.initOf(target)
	if err != nil {
		return 1, err
	}
	return enter(init, argv)
}

// initOf returns pid 1 of a machine that is on.
func (l *Lab) initOf(name string) (process, error) {
	s, err := l.load()
	if err != nil {
		return process{}, err
	}
	m, err := s.machine(name)
	if err != nil {
		return process{}, err
	}
	if !m.Init.alive() {
		return process{}, fmt.Errorf("%s: %w", name, errOff)
	}
	return m.Init, nil
}

// join replaces this process by a program in the network namespace at netns.
func join(netns string, argv []string) (int, error) {
	runtime.LockOSThread() // execve(2) keeps the namespaces of the thread that calls it
	ns, err := os.Open(netns)
	if err != nil {
		return 1, fmt.Errorf("open network namespace: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return 1, fmt.Errorf("enter network namespace: %w", err)
	}
	return replace(argv)
}

// enter runs a program in a machine and returns its exit status. A process
// cannot move into another process namespace, only its children are born
// there: so this one stays outside as the program's stand-in, and if it is
// killed, so is the program.
func enter(init process, argv []string) (int, error) {
	runtime.LockOSThread() // never unlocked
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	if err := joinMachine(init); err != nil {
		return 1, err
	}
	cmd := exec.Command(selfExe)
	cmd.Args = append([]string{"skep"}, helperArgs("become", append([]string{dir}, argv...)...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("enter machine: %w", err)
	}
	go passSignals(signals, cmd.Process) // ends with this program
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, fmt.Errorf("wait for %s: %w", argv[0], err)
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return exitSignal + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// passSignals hands signals on to the program, but for those that the terminal
// has sent to the whole foreground group, the program included.
func passSignals(signals <-chan os.Signal, to *os.Process) {
	for sig := range signals {
		switch sig {
		case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH:
			if inForeground() {
				continue
			}
		}
		_ = to.Signal(sig) // the only error is that it has ended, which Wait tells
	}
}

func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// become is the inner half of enter: already in the machine, it ties its life
// to the stand-in and turns into the program.
func become(dir string, argv []string) (int, error) {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return 1, fmt.Errorf("tie to parent: %w", err)
	}
	if os.Getppid() != 0 {
		return 1, errors.New("the outer half of this helper has ended") // a parent outside of the machine has no pid here
	}
	if err := os.Chdir(dir); err != nil {
		dir = "/" // where we are; the machine need not have the caller's directory
	}
	_ = os.Setenv("PWD", dir)
	_ = os.Unsetenv("DOCKER_HOST")
	return replace(argv)
}

// replace turns this process into argv.
func replace(argv []string) (int, error) {
	path, err := exec.LookPath(argv[0])
	if errors.Is(err, os.ErrPermission) {
		return exitNotExecutable, err
	}
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return exitNotFound, err
	}
	err = syscall.Exec(path, argv, os.Environ())
	return exitNotExecutable, fmt.Errorf("run %s: %w", path, err)
}
