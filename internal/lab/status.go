//go:build linux

package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Status looks at every machine of the lab, in order.
func (l *Lab) Status() ([]Status, error) {
	if err := requireRoot(); err != nil {
		return nil, err
	}
	s, err := l.load()
	if err != nil {
		return nil, err
	}
	ports, err := l.ports()
	if err != nil {
		return nil, err
	}
	list := make([]Status, len(s.Machines))
	for i := range s.Machines {
		if list[i], err = l.status(s, &s.Machines[i], ports); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (l *Lab) status(s *state, m *machineState, ports map[string]bool) (Status, error) {
	st := Status{Machine: l.machine(s, m), State: StateRunning, Labels: m.Labels}
	on, plugged := ports[m.Name]
	st.Cut = plugged && !on
	switch {
	case !m.Init.alive():
		st.State = StateOff
		return st, nil
	case !m.Engine.alive():
		st.State = StateStopped
		return st, nil
	case isStopped(m.Engine):
		st.State = StatePaused
	case st.Cut:
		st.State = StateCut
	}
	st.PID = m.Engine.PID
	helpers, err := containerdOf(m.Engine)
	if err != nil {
		return st, err
	}
	for _, p := range append(helpers, m.Engine) {
		st.Memory += residentBytes(p.PID)
	}
	return st, nil
}

// residentBytes is the memory of a process that is in RAM; 0 for one that has
// just ended.
func residentBytes(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(data) {
		if value, ok := strings.CutPrefix(string(line), "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}
