//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// Lab is a lab, running or not. What it is lives in its directory and in the
// kernel, so any number of Labs, here and in other processes, may stand for
// the same one; those that change it wait for each other. Its methods may be
// called from several goroutines.
type Lab struct {
	cfg Config
	layout
}

// New returns the lab that cfg means. It starts nothing.
func New(cfg Config) (*Lab, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	return &Lab{cfg: cfg, layout: layout{name: cfg.Name, dir: cfg.Dir}}, nil
}

// Name is the lab's name.
func (l *Lab) Name() string { return l.name }

// Dir is the lab's directory.
func (l *Lab) Dir() string { return l.dir }

// Machines lists the lab's machines in order, whether on or off. There are
// none when there is no such lab, or its state cannot be read, which Status
// would tell.
func (l *Lab) Machines() []Machine {
	s, err := l.load()
	if err != nil {
		return nil
	}
	machines := make([]Machine, len(s.Machines))
	for i, m := range s.Machines {
		machines[i] = l.machine(s, &m)
	}
	return machines
}

func (l *Lab) machine(s *state, m *machineState) Machine {
	return Machine{Name: m.Name, Addr: machineAddr(s.Subnet, m.Index), Socket: l.socket(m.Name)}
}

// Up brings the lab to where n1 to nN exist and every machine of the lab is
// on, with its engine answering and its cable whole. Machines that run are
// left running, more than N are left to be, and one that was off boots with
// the disk it had. Engines start side by side. When some fail, the others are
// up nevertheless.
func (l *Lab) Up(ctx context.Context, n int) error {
	if err := kernelSupport(); err != nil {
		return err
	}
	dockerd, err := findDockerd(l.cfg.Dockerd)
	if err != nil {
		return err
	}
	for _, tar := range l.cfg.Images {
		if _, err := os.Stat(tar); err != nil {
			return fmt.Errorf("image to load: %w", err)
		}
	}
	// Before anything is written: the name may be somebody else's.
	if _, err := ownNetns(l.netns(Hub), l.mark()); err != nil {
		return err
	}
	x, err := l.lockNew(ctx)
	if err != nil {
		return err
	}
	defer x.close()
	if err := x.plan(n, dockerd); err != nil {
		return err
	}
	if err := l.ensureHub(x.state.Subnet); err != nil {
		return err
	}
	if err := x.writeHosts(); err != nil {
		return err
	}
	err = x.state.each(x.state.names(), func(m *machineState) error { return x.ensure(ctx, m) })
	if err := errors.Join(err, x.save()); err != nil {
		return err
	}
	for _, tar := range l.cfg.Images {
		if err := l.Load(ctx, tar); err != nil {
			return err
		}
	}
	return nil
}

// plan reads or begins the lab's state, adds the machines that it lacks up to
// n, and saves it: whatever happens next, Down knows their names.
func (x *session) plan(n int, dockerd string) error {
	s, err := loadState(x.stateFile())
	if errors.Is(err, os.ErrNotExist) {
		s, err = &state{Name: x.name, Subnet: x.cfg.Subnet}, nil
	}
	if err != nil {
		return err
	}
	if !s.Subnet.IsValid() {
		s.Subnet = defaultSubnet
	}
	if s.Name != x.name {
		return x.errOther(s)
	}
	if x.cfg.Subnet.IsValid() && x.cfg.Subnet != s.Subnet {
		return fmt.Errorf("lab %q has subnet %s, not %s: run skep lab down first", x.name, s.Subnet, x.cfg.Subnet)
	}
	if room := min(capacity(s.Subnet), maxMachines); n < 1 || n > room {
		return fmt.Errorf("%d machines: subnet %s has room for 1 to %d", n, s.Subnet, room)
	}
	for index := 1; index <= n; index++ {
		name := machineName(index)
		labels := x.cfg.labelsFor(name)
		m, err := s.machine(name)
		if err != nil {
			s.add(machineState{Name: name, Index: index, Dockerd: dockerd, Labels: labels, Flags: x.cfg.DockerdFlags})
		} else if missing := lacks(m.Labels, labels); len(missing) > 0 {
			x.cfg.notify("%s keeps the labels it was made with, without %s: skep lab down %[1]s, then up, makes it anew",
				name, strings.Join(missing, " "))
		}
	}
	x.state = s
	return x.save()
}

// load reads the state of a lab that must exist.
func (l *Lab) load() (*state, error) {
	s, err := loadState(l.stateFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, l.errNone()
	}
	if err == nil && s.Name != l.name {
		err = l.errOther(s)
	}
	return s, err
}

func (l *Lab) errNone() error {
	return fmt.Errorf("%w %q in %s; skep lab up makes one", ErrNoLab, l.name, l.dir)
}

func (l *Lab) errOther(s *state) error {
	return fmt.Errorf("%s holds lab %q, not %q: say --name %[2]s, or choose another --dir (or unset SKEP_LAB_DIR)", l.dir, s.Name, l.name)
}

// edit does something to the named machines, side by side, with the lab locked,
// and saves what became of their processes.
func (l *Lab) edit(ctx context.Context, names []string, do func(*session, *machineState) error) error {
	if err := requireRoot(); err != nil {
		return err
	}
	if len(names) == 0 {
		return errors.New("no machine named")
	}
	if _, err := l.load(); err != nil { // before the lock makes a file in a directory that is no lab's
		return err
	}
	x, err := l.lock(ctx)
	if errors.Is(err, os.ErrNotExist) {
		return l.errNone()
	}
	if err != nil {
		return err
	}
	defer x.close()
	if x.state, err = l.load(); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := x.state.machine(name); err != nil {
			return err
		}
	}
	err = x.state.each(names, func(m *machineState) error { return do(x, m) })
	return errors.Join(err, x.save())
}

// sideBySide bounds how many machines are worked on at once: more only wait
// for the same cores, and then run into their deadlines.
const sideBySide = 16

// each calls do for the named machines, several at once, and returns when all
// are done. Each call owns the record of its machine, so a name is taken once.
func (s *state) each(names []string, do func(*machineState) error) error {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	var wg sync.WaitGroup
	errs := make([]error, len(names))
	slots := make(chan struct{}, sideBySide)
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			m, err := s.machine(name)
			if err == nil {
				err = do(m)
			}
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// lacks returns what is in want but not in have.
func lacks(have, want []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(w string) bool { return slices.Contains(have, w) })
}
