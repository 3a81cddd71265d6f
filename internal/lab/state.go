package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

const (
	stateFile    = "state.json"
	stateVersion = 1
)

// state is what a lab's directory remembers between two commands. What can be
// seen (is it running, paused, cut?) is looked up, not remembered.
type state struct {
	Version int          `json:"version"`
	Name    string       `json:"name"`
	Subnet  netip.Prefix `json:"subnet"`
	// BootID is the host's boot that the processes below belong to.
	BootID string `json:"bootID"`
	// Machines are in the order of their index.
	Machines []machineState `json:"machines"`
}

// machineState is how a machine was made, and its two processes.
type machineState struct {
	Name    string   `json:"name"`
	Index   int      `json:"index"`
	Labels  []string `json:"labels"`
	Dockerd string   `json:"dockerd"`
	Flags   []string `json:"flags,omitempty"`
	// Overlay2 tells whether that storage driver works on the machine's disk.
	Overlay2 bool `json:"overlay2"`
	// Init is pid 1 of the machine, Engine its dockerd; zero when there is none.
	Init   process `json:"init"`
	Engine process `json:"engine"`
}

// process is a process of the host. Its start time, in clock ticks since boot
// (proc_pid_stat(5)), tells it from a later one with the same pid.
type process struct {
	PID   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
}

// machine returns the record of the named machine, to read or to change.
func (s *state) machine(name string) (*machineState, error) {
	for i := range s.Machines {
		if s.Machines[i].Name == name {
			return &s.Machines[i], nil
		}
	}
	return nil, fmt.Errorf("no machine %q in lab %q; skep lab ls shows them", name, s.Name)
}

// add appends a machine, keeping the order.
func (s *state) add(m machineState) {
	at, _ := slices.BinarySearchFunc(s.Machines, m.Index, func(e machineState, index int) int { return e.Index - index })
	s.Machines = slices.Insert(s.Machines, at, m)
}

func (s *state) remove(name string) {
	s.Machines = slices.DeleteFunc(s.Machines, func(m machineState) bool { return m.Name == name })
}

func (s *state) names() []string {
	names := make([]string, len(s.Machines))
	for i, m := range s.Machines {
		names[i] = m.Name
	}
	return names
}

// loadState reads a state file. The error is os.ErrNotExist when there is
// none. Processes of an earlier boot of the host are dropped.
func loadState(path string) (*state, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read lab state: %w", err)
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("lab state %s is damaged (%w): remove this file, then run skep lab down, which finds the rest by name", path, err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("lab state %s is of version %d, this skep knows %d: run skep lab down with the skep that made it",
			path, s.Version, stateVersion)
	}
	if s.BootID != bootID() {
		for i := range s.Machines {
			s.Machines[i].Init, s.Machines[i].Engine = process{}, process{}
		}
	}
	return &s, nil
}

// save writes the state to path: whole or not at all.
func (s *state) save(path string) (err error) {
	s.Version, s.BootID = stateVersion, bootID()
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode lab state: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write lab state: %w", err)
		}
	}()
	tmp, err := os.CreateTemp(filepath.Dir(path), stateFile+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(data, '\n'))
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// bootID names this boot of the host; empty where the kernel does not say.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(id[:max(0, len(id)-1)])
}
