//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// stopTimeout is how long an engine may take to stop its containers.
	stopTimeout = 60 * time.Second
	// pauseTimeout bounds the wait for a stop signal to take hold.
	pauseTimeout = 5 * time.Second
)

// ensure brings a machine to running: on, thawed, plugged in, answering.
func (x *session) ensure(ctx context.Context, m *machineState) error {
	if isStopped(m.Engine) {
		if err := thaw(m.Engine); err != nil {
			return err
		}
	}
	if err := x.power(ctx, m); err != nil {
		return err
	}
	return x.portOn(ctx, m.Name)
}

// power boots a machine that is off, and starts its engine when that does not
// run.
func (x *session) power(ctx context.Context, m *machineState) error {
	wired, err := x.wired(m.Name)
	if err != nil {
		return err
	}
	if !m.Init.alive() || !wired {
		// Also what an interrupted command has half made.
		if err := x.powerOff(ctx, m); err != nil {
			return err
		}
		if err := x.boot(ctx, m); err != nil {
			return err
		}
	}
	addr := machineAddr(x.state.Subnet, m.Index)
	if !m.Engine.alive() {
		if m.Engine, err = x.findEngine(m.Name, m.Init); err != nil {
			return err
		}
	}
	if !m.Engine.alive() {
		return x.startEngine(ctx, m, addr)
	}
	if isStopped(m.Engine) {
		return fmt.Errorf("its engine is paused: skep lab unpause %s", m.Name)
	}
	return x.waitEngine(ctx, m, fileSize(x.log(m.Name)))
}

// boot makes a machine's network and starts its pid 1.
func (x *session) boot(ctx context.Context, m *machineState) error {
	for _, dir := range []string{x.data(m.Name), filepath.Join(x.machineDir(m.Name), etcDocker)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make disk: %w", err)
		}
	}
	resolv := fmt.Sprintf("nameserver %s\noptions timeout:1 attempts:1\n", hubAddr(x.state.Subnet))
	if err := os.WriteFile(filepath.Join(x.machineDir(m.Name), resolvFile), []byte(resolv), 0o644); err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	if err := x.ensureWire(m.Name, x.state.Subnet, machineAddr(x.state.Subnet, m.Index)); err != nil {
		return err
	}
	said, err := x.runHelper(ctx, nil, helperArgs("boot", x.netns(m.Name), x.dir, m.Name)...)
	if err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	var report bootReport
	if err := json.Unmarshal(said, &report); err != nil {
		return fmt.Errorf("boot: %s does not answer like skep (%w); is it one of this version?", x.cfg.Exe, err)
	}
	if m.Init, err = identify(report.PID); err != nil {
		return fmt.Errorf("boot: pid 1 is gone: %w", err)
	}
	m.Overlay2 = report.Overlay2
	return nil
}

// powerOff ends a machine as a power cut does. The cable goes first, so that
// its peers hear nothing: no packet of the sockets that close next.
func (l *Lab) powerOff(ctx context.Context, m *machineState) error {
	if err := l.unplug(m.Name); err != nil {
		return err
	}
	inits, err := l.findInits(m.Name)
	if err != nil {
		return err
	}
	for _, init := range append(inits, m.Init) {
		if err := killMachine(ctx, init, l.machineCgroup(m.Name)); err != nil {
			return err
		}
	}
	m.Init, m.Engine = process{}, process{}
	return l.endNetns(ctx, m.Name)
}

// endNetns ends the programs in one of the lab's network namespaces, and with
// them the namespace.
func (l *Lab) endNetns(ctx context.Context, name string) error {
	path := l.netns(name)
	own, err := ownNetns(path, l.mark())
	switch {
	case errors.Is(err, errForeign):
		return nil
	case err != nil:
		return err
	case !own:
		return dropNetns(path) // if there is a stale name
	}
	for ctx.Err() == nil { // again, because a program may start another while it is ended
		programs, err := netnsMembers(path)
		if err != nil {
			return err
		}
		if len(programs) == 0 {
			return dropNetns(path)
		}
		if err := kill(ctx, programs...); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// Crash cuts the power of machines: no process survives, the network falls
// silent, the disk stays. Start boots them again.
func (l *Lab) Crash(ctx context.Context, names ...string) error {
	return l.edit(ctx, names, func(_ *session, m *machineState) error { return l.powerOff(ctx, m) })
}

// Start boots machines that are off, starts engines that do not run, and waits
// until they answer.
func (l *Lab) Start(ctx context.Context, names ...string) error {
	return l.edit(ctx, names, func(x *session, m *machineState) error { return x.power(ctx, m) })
}

// Stop lets engines end in an orderly way, with their containers. The machines
// stay on.
func (l *Lab) Stop(ctx context.Context, names ...string) error {
	return l.edit(ctx, names, func(_ *session, m *machineState) error {
		err := errors.Join(m.Engine.signal(syscall.SIGTERM), thaw(m.Engine))
		if err == nil {
			err = waitGone(ctx, stopTimeout, m.Engine)
		}
		if err != nil {
			return fmt.Errorf("stop dockerd: %w; skep lab kill %s ends it at once", err, m.Name)
		}
		m.Engine = process{}
		return nil
	})
}

// Kill ends engines at once with SIGKILL; their containers run on until the
// engine is started again. The machines stay on.
func (l *Lab) Kill(ctx context.Context, names ...string) error {
	return l.edit(ctx, names, func(_ *session, m *machineState) error {
		helpers, err := containerdOf(m.Engine)
		if err != nil {
			return err
		}
		if err := kill(ctx, m.Engine); err != nil {
			return err
		}
		m.Engine = process{}
		// It dies with its dockerd; a new one must not meet it.
		return waitGone(ctx, goneTimeout, helpers...)
	})
}

// Pause freezes dockerd and containerd. The engine hangs: the kernel goes on
// accepting connections for it, and nobody answers. Containers run on.
func (l *Lab) Pause(ctx context.Context, names ...string) error {
	return l.edit(ctx, names, func(_ *session, m *machineState) error {
		frozen, err := engineProcesses(m.Engine)
		if err != nil {
			return err
		}
		for _, p := range frozen {
			if err := p.signal(syscall.SIGSTOP); err != nil {
				return err
			}
		}
		return poll(ctx, pauseTimeout, func() bool {
			return !slices.ContainsFunc(frozen, func(p process) bool { return p.alive() && !isStopped(p) })
		})
	})
}

// Unpause lets paused engines go on.
func (l *Lab) Unpause(ctx context.Context, names ...string) error {
	return l.edit(ctx, names, func(_ *session, m *machineState) error { return thaw(m.Engine) })
}

// Cut takes machines off the LAN: nothing goes in or out, nobody is told.
func (l *Lab) Cut(ctx context.Context, names ...string) error {
	return l.edit(ctx, names, func(_ *session, m *machineState) error { return l.portOff(m.Name) })
}

// Heal puts machines that were cut back on the LAN, and waits until packets
// pass. Peers that tried to reach them meanwhile may take a second to find them.
func (l *Lab) Heal(ctx context.Context, names ...string) error {
	return l.edit(ctx, names, func(_ *session, m *machineState) error { return l.portOn(ctx, m.Name) })
}

// engineProcesses are the processes that are the engine: dockerd and the
// containerd it runs.
func engineProcesses(engine process) ([]process, error) {
	if !engine.alive() {
		return nil, errors.New("its engine does not run; skep lab start starts it")
	}
	helpers, err := containerdOf(engine)
	return append([]process{engine}, helpers...), err
}

func isStopped(p process) bool {
	st, ok := p.stat()
	return ok && st.state == 'T'
}

// thaw lets a paused engine go on. One that is not paused or not there is left
// as it is.
func thaw(engine process) error {
	if !engine.alive() {
		return nil
	}
	frozen, err := engineProcesses(engine)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range frozen {
		errs = append(errs, p.signal(syscall.SIGCONT))
	}
	return errors.Join(errs...)
}

// writeHosts tells every machine the names of all. The files are written in
// place, not replaced: machines that run have them mounted.
func (x *session) writeHosts() error {
	var hosts strings.Builder
	fmt.Fprintf(&hosts, "127.0.0.1\tlocalhost\n::1\tlocalhost\n%s\t%s\n", hubAddr(x.state.Subnet), Hub)
	for _, m := range x.state.Machines {
		fmt.Fprintf(&hosts, "%s\t%s\n", machineAddr(x.state.Subnet, m.Index), m.Name)
	}
	for _, m := range x.state.Machines {
		if err := os.MkdirAll(x.machineDir(m.Name), 0o755); err != nil {
			return fmt.Errorf("make disk: %w", err)
		}
		if err := os.WriteFile(filepath.Join(x.machineDir(m.Name), hostsFile), []byte(hosts.String()), 0o644); err != nil {
			return fmt.Errorf("write hosts: %w", err)
		}
	}
	return nil
}
