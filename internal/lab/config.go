package lab

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	// DefaultName is the lab's name when nothing else says one.
	DefaultName = "lab"
	// DefaultParent is the directory that holds the labs' directories by default.
	DefaultParent = "/var/lib/skep-lab"
)

// Config says which lab is meant and how new machines of it are made.
type Config struct {
	// Name tells labs on one host apart. Empty: the name of the lab that lives
	// in Dir, else DefaultName.
	Name string
	// Dir holds the lab's state and disks. It must be on a real file system and
	// short enough for unix sockets below it. Empty: $SKEP_LAB_DIR, else
	// DefaultParent/Name.
	Dir string
	// Subnet is the LAN. Zero: the lab's own when it exists, else 10.99.0.0/24.
	Subnet netip.Prefix
	// Exe is the skep executable to run as helper. Empty: the running program,
	// which must be skep; a test binary must name one.
	Exe string
	// Dockerd is the engine of new machines. Empty: $DOCKERD, else the host's.
	Dockerd string
	// DockerdFlags are added to the command line of the engines of new machines.
	DockerdFlags []string
	// Labels are the engine labels of new machines, besides lab.node=NAME.
	Labels []Label
	// Images are tar files (docker save) that Up loads into every machine.
	Images []string
	// Notify, when set, is told in one sentence what Up did or left as it was.
	// It may be called from several goroutines.
	Notify func(message string)
}

// Label is an engine label for one machine, or for all when Machine is empty.
type Label struct {
	Machine string
	Key     string
	Value   string
}

// ErrNoLab is the error of what needs a lab that is not there.
var ErrNoLab = errors.New("no lab")

var (
	nameRule    = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)
	machineRule = regexp.MustCompile(`^n([1-9][0-9]{0,3})$`)
	// reservedNames are cgroups of others at the top of the hierarchy.
	reservedNames = []string{"docker", "init", "kubepods", "lxc", "machine", "podman", "system", "user"}
)

// ParseLabel reads KEY=VALUE, or MACHINE:KEY=VALUE for one machine.
func ParseLabel(s string) (Label, error) {
	var l Label
	rest := s
	if machine, after, ok := strings.Cut(s, ":"); ok && machineRule.MatchString(machine) {
		l.Machine, rest = machine, after
	}
	key, value, ok := strings.Cut(rest, "=")
	if !ok || key == "" || strings.ContainsAny(key, " \t\n") {
		return Label{}, fmt.Errorf("label %q: want KEY=VALUE, or MACHINE:KEY=VALUE as in n1:rack=a", s)
	}
	if key == nodeLabel {
		return Label{}, fmt.Errorf("label %q: %s is the lab's own", s, nodeLabel)
	}
	l.Key, l.Value = key, value
	return l, nil
}

// resolve fills in what c leaves out, and checks the rest.
func (c Config) resolve() (Config, error) {
	dirGiven := c.Dir != ""
	if !dirGiven {
		c.Dir = os.Getenv("SKEP_LAB_DIR")
		dirGiven = c.Dir != ""
	}
	if c.Name == "" && dirGiven {
		saved, err := loadState(filepath.Join(c.Dir, stateFile))
		if err == nil {
			c.Name = saved.Name
		} else if !errors.Is(err, os.ErrNotExist) {
			return c, err
		}
	}
	if c.Name == "" {
		c.Name = DefaultName
	}
	if err := checkName(c.Name); err != nil {
		return c, err
	}
	if !dirGiven {
		c.Dir = filepath.Join(DefaultParent, c.Name)
	}
	var err error
	if c.Dir, err = checkDir(c.Dir); err != nil {
		return c, err
	}
	if c.Subnet.IsValid() {
		if err := checkSubnet(c.Subnet); err != nil {
			return c, err
		}
		c.Subnet = c.Subnet.Masked()
	}
	if c.Exe == "" {
		if flag.Lookup("test.v") != nil {
			return c, errors.New("lab: Config.Exe must name a skep executable: a test binary cannot be the helper (labtest.Binary builds one)")
		}
		if c.Exe, err = os.Executable(); err != nil {
			return c, fmt.Errorf("find the skep executable: %w", err)
		}
	}
	return c, nil
}

func checkName(name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("lab name %q: want 1 to 8 lower-case letters and digits, a letter first", name)
	}
	if slices.Contains(reservedNames, name) {
		return fmt.Errorf("lab name %q is taken by a cgroup of the system; choose another --name", name)
	}
	return nil
}

// checkDir returns dir as an absolute path without symbolic links, so that it
// means the same in a machine as on the host.
func checkDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("lab directory: %w", err)
	}
	dir = realPath(dir)
	for _, own := range []string{"/run", "/etc", "/opt", "/proc", "/sys", "/dev"} {
		if dir == own || strings.HasPrefix(dir, own+"/") {
			return "", fmt.Errorf("lab directory %s: each machine has a %s of its own; choose another --dir", dir, own)
		}
	}
	if dir == "/" {
		return "", errors.New("lab directory /: choose another --dir")
	}
	longest := filepath.Join(dir, "n9999", socketFile)
	if len(longest) > maxSocketPath {
		return "", fmt.Errorf("lab directory %s: too long by %d bytes for a unix socket below it; choose a shorter --dir",
			dir, len(longest)-maxSocketPath)
	}
	return dir, nil
}

// realPath resolves the symbolic links of the part of path that exists.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(realPath(parent), filepath.Base(path))
}

// labelsFor returns the engine labels of machine name as KEY=VALUE.
func (c Config) labelsFor(name string) []string {
	labels := []string{nodeLabel + "=" + name}
	for _, l := range c.Labels {
		if l.Machine == "" || l.Machine == name {
			labels = append(labels, l.Key+"="+l.Value)
		}
	}
	return labels
}

func (c Config) notify(format string, args ...any) {
	if c.Notify != nil {
		c.Notify(fmt.Sprintf(format, args...))
	}
}
