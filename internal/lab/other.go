//go:build !linux

package lab

import (
	"context"
	"errors"
	"io"
	"os/exec"
)

var errNotLinux = errors.New("a lab needs Linux: its machines are made of namespaces")

// Supported says in one sentence why real engines cannot run here.
func Supported() error { return errNotLinux }

// RunHelper is for Linux.
func RunHelper([]string, io.Writer) (int, error) { return 1, errNotLinux }

// Lab stands for what there is on Linux only; New never returns one.
type Lab struct{}

// New says that there is no lab here.
func New(Config) (*Lab, error) { return nil, errNotLinux }

// The methods of Lab on Linux.

func (*Lab) Name() string                                   { return "" }
func (*Lab) Dir() string                                    { return "" }
func (*Lab) Machines() []Machine                            { return nil }
func (*Lab) Status() ([]Status, error)                      { return nil, errNotLinux }
func (*Lab) Up(context.Context, int) error                  { return errNotLinux }
func (*Lab) Down(context.Context, ...string) error          { return errNotLinux }
func (*Lab) Load(context.Context, string, ...string) error  { return errNotLinux }
func (*Lab) Crash(context.Context, ...string) error         { return errNotLinux }
func (*Lab) Start(context.Context, ...string) error         { return errNotLinux }
func (*Lab) Stop(context.Context, ...string) error          { return errNotLinux }
func (*Lab) Kill(context.Context, ...string) error          { return errNotLinux }
func (*Lab) Pause(context.Context, ...string) error         { return errNotLinux }
func (*Lab) Unpause(context.Context, ...string) error       { return errNotLinux }
func (*Lab) Cut(context.Context, ...string) error           { return errNotLinux }
func (*Lab) Heal(context.Context, ...string) error          { return errNotLinux }
func (*Lab) Exec(target string, argv []string) (int, error) { return 1, errNotLinux }
func (*Lab) Command(_ context.Context, _, name string, args ...string) *exec.Cmd {
	return &exec.Cmd{Path: name, Args: append([]string{name}, args...), Err: errNotLinux}
}
