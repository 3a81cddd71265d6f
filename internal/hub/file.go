package hub

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockWait is how long another process may still hold the file, as the one
// does that is just being replaced.
const lockWait = 2 * time.Second

// openStore opens the file at path, or makes it.
func openStore(path string, limits Limits) (*store, error) {
	if path == "" {
		return nil, errors.New("the hub's file is missing: give it with --data")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the hub's file: %w", err)
	}
	db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	return &store{db: db, limits: limits.withDefaults()}, nil
}

// openFile reads all of the file before anybody is served from it. A file that
// is torn makes bbolt panic, or the memory map fault; both become an error.
func openFile(path string) (db *bbolt.DB, err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if broken := recover(); broken != nil {
			db, err = nil, corrupt(path, fmt.Errorf("%v", broken))
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use: another skep hub runs with it; stop that one or give another file with --data", path)
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.EISDIR):
		return nil, fmt.Errorf("open the hub's file: %w", err)
	case err != nil:
		return nil, corrupt(path, err)
	}
	if err = check(db); err == nil {
		err = prepare(db)
	}
	if err != nil {
		db.Close()
		return nil, corrupt(path, err)
	}
	return db, nil
}

func corrupt(path string, err error) error {
	return fmt.Errorf("%s cannot be used as the hub's file, it is damaged or another program's: %w; move it away to start empty (engines announce themselves again, but clusters need new tokens), or restore a copy", path, err)
}

// check reads every page. bbolt does that in a goroutine of its own, where a
// fault ends the program: so a file that is shorter than it says is found
// before.
func check(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(db.Path())
		if err != nil {
			return err
		}
		if info.Size() < tx.Size() {
			return fmt.Errorf("it has %d bytes and should have %d", info.Size(), tx.Size())
		}
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = err
			}
		}
		return first
	})
}

// prepare makes the tables of a new file, and refuses a file that holds
// something else.
func prepare(db *bbolt.DB) error {
	ready := false
	err := db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			if k, _ := tx.Cursor().First(); k != nil {
				return errors.New("it holds no tables of a hub")
			}
			return nil
		}
		if got := meta.Get(formatKey); string(got) != format {
			return fmt.Errorf("its format is %q and not %q", got, format)
		}
		if tx.Bucket(clustersBucket) == nil || tx.Bucket(addressesBucket) == nil {
			return errors.New("a table is missing")
		}
		ready = true
		return nil
	})
	if err != nil || ready {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{metaBucket, clustersBucket, addressesBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(formatKey, []byte(format))
	})
}
