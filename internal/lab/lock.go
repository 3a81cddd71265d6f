//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockTimeout is how long a command waits for another on the same lab.
const lockTimeout = 3 * time.Minute

// session is a command that has the lab to itself.
type session struct {
	*Lab
	state *state
	// held is the locked file. Helpers inherit it: if this program is killed,
	// the lab stays locked until those that it started have ended.
	held *os.File
}

func (x *session) close() { x.held.Close() }

func (x *session) save() error { return x.state.save(x.stateFile()) }

// lock keeps every other command that changes the lab out, in this process or
// another, until the session is closed. It has no state yet. The lab's
// directory must exist.
func (l *Lab) lock(ctx context.Context) (*session, error) {
	var held *os.File
	var err error
	take := func() bool {
		held, err = tryLock(l.lockFile())
		return held != nil || err != nil
	}
	if waited := poll(ctx, lockTimeout, take); waited != nil {
		return nil, fmt.Errorf("another command on lab %q holds %s: %w", l.name, l.lockFile(), waited)
	}
	if err != nil {
		return nil, fmt.Errorf("lock lab: %w", err)
	}
	return &session{Lab: l, held: held}, nil
}

// lockNew makes the lab's directory and locks it. A Down that was before us in
// the queue may take the directory away.
func (l *Lab) lockNew(ctx context.Context) (*session, error) {
	for ctx.Err() == nil {
		if err := os.MkdirAll(l.dir, 0o755); err != nil {
			return nil, fmt.Errorf("make lab directory: %w", err)
		}
		if err := l.knownDir(); err != nil {
			return nil, err
		}
		x, err := l.lock(ctx)
		if !errors.Is(err, os.ErrNotExist) {
			return x, err
		}
	}
	return nil, context.Cause(ctx)
}

// knownDir refuses a directory that holds other things than a lab.
func (l *Lab) knownDir() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("read lab directory: %w", err)
	}
	for _, pattern := range []string{stateFile, lockFile, diskPattern} {
		found, err := fs.Glob(os.DirFS(l.dir), pattern)
		if err != nil || len(found) > 0 {
			return err
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return fmt.Errorf("%s holds other things than a lab: choose an empty or a new directory with --dir", l.dir)
}

// tryLock returns the locked file, or nil when somebody else has it.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && sameFile(f, path) {
		return f, nil
	}
	f.Close()
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return nil, err
	}
	return nil, nil
}

// sameFile reports whether path still is f: Down removes the lock file, and
// then a lock on it keeps nobody out.
func sameFile(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}
