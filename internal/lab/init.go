//go:build linux

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// bootReport is what a machine says about itself when it is up, or why not.
type bootReport struct {
	PID      int    `json:"pid,omitempty"`
	Overlay2 bool   `json:"overlay2,omitempty"`
	Error    string `json:"error,omitempty"`
}

// initArgs are the arguments of a machine's pid 1. It is also known by them.
func (l layout) initArgs(machine string) []string {
	return helperArgs("init", l.dir, machine)
}

// startInit starts pid 1 of a machine in the network namespace at netns, waits
// until it is up, and reports it on out. It runs in a helper of its own, which
// ends then, so that pid 1 is no child of whoever uses the lab.
func startInit(netns string, l layout, machine string, out io.Writer) error {
	runtime.LockOSThread() // never unlocked: this helper does nothing else
	ns, err := os.Open(netns)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("boot %s: %w", machine, err)
	}
	if err := keepNoFiles(); err != nil {
		return err
	}
	cmd := exec.Command(selfExe)
	cmd.Args = append([]string{"skep"}, l.initArgs(machine)...)
	cmd.Dir = "/"
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.ExtraFiles = []*os.File{w} // becomes reportFD
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Setsid:     true,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start pid 1 of %s: %w", machine, err)
	}
	w.Close()
	var report bootReport
	if err := json.NewDecoder(r).Decode(&report); err != nil {
		return fmt.Errorf("pid 1 of %s died: %w", machine, errors.Join(err, cmd.Wait()))
	}
	if report.Error != "" {
		return errors.New(report.Error)
	}
	report.PID = cmd.Process.Pid
	return json.NewEncoder(out).Encode(report)
}

const (
	selfExe  = "/proc/self/exe"
	reportFD = 3
)

// runInit is pid 1 of a machine: it makes the machine's mounts, says so, and
// from then on only sees to it that orphans leave no zombies. It returns only
// when the machine cannot be made.
func runInit(dir, machine string) error {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
		syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGCHLD) // ignored, the kernel reaps: wait(2)
	pipe := os.NewFile(reportFD, "report")
	report, err := makeMachine(dir, machine)
	if err != nil {
		report.Error = err.Error()
	}
	if err := errors.Join(err, json.NewEncoder(pipe).Encode(report), pipe.Close()); err != nil {
		return err
	}
	for {
		unix.Pause()
	}
}

func makeMachine(dir, machine string) (bootReport, error) {
	l := layout{dir: dir}
	if os.Getpid() != 1 {
		return bootReport{}, errors.New("this is for pid 1 of a machine only; it is started by skep lab up")
	}
	if err := mountMachine(l.machineDir(machine), machine); err != nil {
		return bootReport{}, err
	}
	if err := unix.Sethostname([]byte(machine)); err != nil {
		return bootReport{}, fmt.Errorf("set host name: %w", err)
	}
	// For ps; a failure is not worth a machine.
	_ = os.WriteFile("/proc/self/comm", []byte("lab-"+machine), 0)
	return bootReport{Overlay2: canOverlay(l.machineDir(machine))}, nil
}

// keepNoFiles keeps files that were left open by whoever called this program
// (a script's lock, say) from being inherited by what is started to stay.
func keepNoFiles() error {
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err == nil {
		return nil
	}
	open, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return fmt.Errorf("list open files: %w", err)
	}
	for _, f := range open {
		var fd int
		if _, err := fmt.Sscan(f.Name(), &fd); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}
