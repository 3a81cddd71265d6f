// Package ledger keeps on disk what a cluster must know of containers that may
// have to be made anew when their engine fails: a manager that is restarted
// while an engine is down cannot ask it any more.
//
// It owns one bbolt file, which only root and its owner may read, as the
// environment of containers may hold secrets. It decides nothing, and knows
// nothing of what records mean. Package daemon opens it and hands it to the
// cluster.
package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/skep/skep/internal/cluster"
)

// lockTimeout is how long Open waits for another manager to leave the file.
const lockTimeout = 5 * time.Second

// containers is the bucket of the records: container ID to JSON.
const containers = "containers"

// Ledger is an open file of records.
type Ledger struct {
	path string
	db   *bbolt.DB
}

var _ cluster.Ledger = (*Ledger)(nil)

// Open opens the file, or makes it and its directory. Close closes it.
func Open(path string) (_ *Ledger, err error) {
	defer func() {
		// bbolt panics on some kinds of broken pages.
		if fault := recover(); fault != nil {
			err = unreadable(path, fmt.Errorf("%v", fault))
		}
	}()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the ledger: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("ledger %s is in use by another manager: stop it, or give this one another state directory", path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("open the ledger: %w", err)
	case err != nil:
		return nil, unreadable(path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect the ledger: %w", err), db.Close())
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists([]byte(containers))
		return err
	})
	if err != nil {
		return nil, errors.Join(unreadable(path, err), db.Close())
	}
	return &Ledger{path, db}, nil
}

func unreadable(path string, err error) error {
	return fmt.Errorf("ledger %s cannot be read: %w; move the file away to go on without it: containers of engines that are down now will not be moved then", path, err)
}

// Load gives all records.
func (l *Ledger) Load() (records []cluster.Record, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = unreadable(l.path, fmt.Errorf("%v", fault))
		}
	}()
	err = l.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(containers)).ForEach(func(id, text []byte) error {
			var r cluster.Record
			if err := json.Unmarshal(text, &r); err != nil {
				return unreadable(l.path, fmt.Errorf("record of container %s: %w", id, err))
			}
			records = append(records, r)
			return nil
		})
	})
	return records, err
}

// Apply writes and removes records in one transaction, which is on disk when
// it returns.
func (l *Ledger) Apply(put []cluster.Record, gone []string) error {
	err := l.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(containers))
		for i := range put {
			text, err := json.Marshal(&put[i])
			if err != nil {
				return err
			}
			if err := b.Put([]byte(put[i].ID), text); err != nil {
				return err
			}
		}
		for _, id := range gone {
			if err := b.Delete([]byte(id)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the ledger %s: %w", l.path, err)
	}
	return nil
}

// Close closes the file. The cluster that uses it must have ended.
func (l *Ledger) Close() error { return l.db.Close() }
