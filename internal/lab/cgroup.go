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
	"syscall"
	"time"
)

// cgroupTimeout bounds the wait for cgroups whose last process is just going.
const cgroupTimeout = 5 * time.Second

// cgroupDirs are the directories of the cgroup at path, as in /lab/n1, in every
// hierarchy: one on cgroup v2, one a controller on v1. They need not exist.
func cgroupDirs(path string) ([]string, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, m := range mounts {
		if m.fstype == "cgroup" || m.fstype == "cgroup2" {
			dirs = append(dirs, filepath.Join(m.point, path))
		}
	}
	return dirs, nil
}

// thawCgroups thaws the cgroup at path and all below it. Containers that are
// paused are frozen, and what is frozen does not die of SIGKILL on cgroup v1.
func thawCgroups(path string) error {
	dirs, err := cgroupDirs(path)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				switch filepath.Base(path) {
				case "freezer.state":
					err = os.WriteFile(path, []byte("THAWED"), 0)
				case "cgroup.freeze":
					err = os.WriteFile(path, []byte("0"), 0)
				}
			}
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
				return nil // gone meanwhile
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("thaw cgroup: %w", err)
		}
	}
	return nil
}

// removeCgroups removes the cgroup at path, as in /lab/n1, with all below it,
// from every hierarchy.
func removeCgroups(ctx context.Context, path string) error {
	dirs, err := cgroupDirs(path)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		var last error
		gone := func() bool {
			last = removeTree(dir)
			return last == nil
		}
		if err := poll(ctx, cgroupTimeout, gone); err != nil {
			return fmt.Errorf("remove cgroup: %w (%w)", last, err)
		}
	}
	return nil
}

// removeTree removes empty directories, deepest first: the files of a cgroup
// are not removed, they go with it.
func removeTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
