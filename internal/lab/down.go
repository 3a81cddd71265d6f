//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// endTimeout is how long programs in the LAN may take to end by themselves.
const endTimeout = 3 * time.Second

// Down removes the named machines with their disks, or the whole lab when none
// is named: processes, the programs in its LAN, namespaces, cgroups, files. It
// also cleans up what an interrupted command, a lost state file or a reboot of
// the host have left. A lab that is not there is no error.
func (l *Lab) Down(ctx context.Context, names ...string) error {
	if err := requireRoot(); err != nil {
		return err
	}
	// Without a directory there is no lock to take, and nobody to keep out.
	x := &session{Lab: l}
	if _, err := os.Stat(l.dir); err == nil {
		if err := l.knownDir(); err != nil {
			return err
		}
		locked, err := l.lock(ctx)
		switch {
		case errors.Is(err, os.ErrNotExist): // removed while we waited
		case err != nil:
			return err
		default:
			x = locked
			defer x.close()
		}
	}
	s, err := l.load()
	if errors.Is(err, ErrNoLab) {
		s, err = &state{Name: l.name, Subnet: defaultSubnet}, nil
	}
	if err != nil {
		return err
	}
	x.state = s
	return x.down(ctx, names)
}

func (x *session) down(ctx context.Context, names []string) error {
	all, err := x.traces()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if err := x.outside(); err != nil { // before anything is gone
			return err
		}
		if err := x.state.each(all, func(m *machineState) error { return x.removeMachine(ctx, m) }); err != nil {
			return err
		}
		if err := x.endHub(ctx, len(all) > 0); err != nil {
			return err
		}
		return x.removeFiles()
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return fmt.Errorf("no machine %q in lab %q; skep lab ls shows them", name, x.name)
		}
	}
	if err := x.state.each(names, func(m *machineState) error { return x.removeMachine(ctx, m) }); err != nil {
		return errors.Join(err, x.save())
	}
	for _, name := range names {
		x.state.remove(name)
	}
	return errors.Join(x.save(), x.writeHosts())
}

// traces names all machines of which there is anything: a record, a directory,
// a network namespace. Those without a record get one.
func (x *session) traces() ([]string, error) {
	var found []string
	disks, err1 := fs.Glob(os.DirFS(x.dir), diskPattern)
	for _, disk := range disks {
		found = append(found, filepath.Dir(disk))
	}
	spaces, err2 := filepath.Glob(x.netns("n[1-9]*"))
	for _, path := range spaces {
		if _, err := ownNetns(path, x.mark()); err == nil { // ours, or a stale name
			found = append(found, strings.TrimPrefix(filepath.Base(path), x.name+"-"))
		}
	}
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("look for machines: %w", err)
	}
	for _, name := range found {
		index, err := machineIndex(name)
		if err != nil {
			continue // not a name that we give
		}
		if _, err := x.state.machine(name); err != nil {
			x.state.add(machineState{Name: name, Index: index})
		}
	}
	return x.state.names(), nil
}

// removeMachine leaves nothing of a machine.
func (l *Lab) removeMachine(ctx context.Context, m *machineState) error {
	if err := l.powerOff(ctx, m); err != nil {
		return err
	}
	if err := os.RemoveAll(l.machineDir(m.Name)); err != nil {
		return fmt.Errorf("remove disk: %w", err)
	}
	if foreign, err := l.foreignHub(); err != nil || foreign {
		return err
	}
	return removeCgroups(ctx, l.machineCgroup(m.Name))
}

// endHub ends the programs in the LAN, the LAN, and the lab's cgroups. Those
// are looked for only when there was something else of the lab: by their name
// alone they may be anybody's.
func (x *session) endHub(ctx context.Context, hadMachines bool) error {
	path := x.netns(Hub)
	own, err := ownNetns(path, x.mark())
	if errors.Is(err, errForeign) {
		return nil
	}
	if err != nil {
		return err
	}
	if own {
		if err := endPrograms(ctx, path); err != nil {
			return err
		}
	}
	if err := x.endNetns(ctx, Hub); err != nil {
		return err
	}
	if !own && !hadMachines && x.held == nil {
		return nil
	}
	return removeCgroups(ctx, x.cgroup())
}

// endPrograms lets the programs in a network namespace end by themselves. Some
// may be left.
func endPrograms(ctx context.Context, netns string) error {
	programs, err := netnsMembers(netns)
	if err != nil {
		return err
	}
	for _, p := range programs {
		if err := p.signal(syscall.SIGTERM); err != nil {
			return err
		}
	}
	if err := waitGone(ctx, endTimeout, programs...); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

// removeFiles removes what is left in the lab's directory when there are no
// machines any more.
func (l *Lab) removeFiles() error {
	files, err := fs.Glob(os.DirFS(l.dir), stateFile+"*") // with those of a save that was interrupted
	if err != nil {
		return fmt.Errorf("look for state files: %w", err)
	}
	for _, file := range append(files, lockFile) {
		if err := os.Remove(filepath.Join(l.dir, file)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove lab state: %w", err)
		}
	}
	// Only what is empty goes: the user's own files stay, other labs stay.
	_ = os.Remove(l.dir)
	if filepath.Dir(l.dir) == DefaultParent {
		_ = os.Remove(DefaultParent)
	}
	return nil
}

// foreignHub reports whether the lab's name is in use by somebody else.
func (l *Lab) foreignHub() (bool, error) {
	_, err := ownNetns(l.netns(Hub), l.mark())
	if errors.Is(err, errForeign) {
		return true, nil
	}
	return false, err
}

// outside refuses to run in the LAN that is about to go.
func (l *Lab) outside() error {
	own, err := ownNetns(l.netns(Hub), l.mark())
	if errors.Is(err, errForeign) || err == nil && !own {
		return nil
	}
	if err == nil {
		_, err = netnsMembers(l.netns(Hub))
	}
	return err
}
