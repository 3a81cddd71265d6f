package lab

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestState_isReadAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), stateFile)
	want := &state{Name: "x", Subnet: netip.MustParsePrefix("10.98.0.0/24")}
	want.add(machineState{Name: "n2", Index: 2, Labels: []string{"lab.node=n2"}})
	want.add(machineState{Name: "n10", Index: 10})
	want.add(machineState{Name: "n1", Index: 1, Init: process{PID: 7, Start: 99}, Overlay2: true})
	if got := want.names(); !slices.Equal(got, []string{"n1", "n2", "n10"}) {
		t.Fatalf("machines are in order %q", got)
	}
	for range 2 { // the second time over an old file
		if err := want.save(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := loadState(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != 1 {
		t.Errorf("temporary files are left: %q", files)
	}
	got.remove("n2")
	if _, err := got.machine("n2"); err == nil {
		t.Error("n2 is still there")
	}
}

func TestLoadState_dropsProcessesOfAnEarlierBoot(t *testing.T) {
	path := filepath.Join(t.TempDir(), stateFile)
	text := `{"version":1,"name":"x","subnet":"10.99.0.0/24","bootID":"an earlier one",
		"machines":[{"name":"n1","index":1,"init":{"pid":1,"start":1},"engine":{"pid":2,"start":2}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadState(path)
	if err != nil {
		t.Fatal(err)
	}
	if m := s.Machines[0]; m.Init != (process{}) || m.Engine != (process{}) {
		t.Errorf("got %+v, want no processes", m)
	}
}

func TestLoadState_saysWhatToDoAboutABadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), stateFile)
	if _, err := loadState(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
	for text, want := range map[string]string{
		"":                 "remove this file",
		`{"version":1,`:    "remove this file",
		`{"version":9999}`: "run skep lab down",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want one with %q", text, err, want)
		}
	}
}
