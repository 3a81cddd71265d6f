// Package kvstore is the contract between skep and the key-value stores that
// people already run: keys that live as long as their owner says so, watches,
// and locks that tell when they are lost. Each store is a package below this
// one (etcd, consul, zk); kvstore/stores opens the one that a URL names.
//
// Discovery keeps addresses of engines in a store, election the name of the
// primary manager. Neither knows which store it is.
package kvstore

import (
	"context"
	"strings"
	"time"
)

// Pair is a key and its value. The key is a slash-separated path without a
// leading slash.
type Pair struct{ Key, Value string }

// Below is the prefix that all keys under a path have, and no others: nodes is
// not also nodes-old. It is empty for the whole store.
func Below(path string) string {
	if path = strings.Trim(path, "/"); path == "" {
		return ""
	}
	return path + "/"
}

// Snapshot is what a watch sends: all pairs below the watched prefix, by key,
// or an error. An error says nothing about the pairs, and the watch goes on.
type Snapshot struct {
	Pairs []Pair
	Err   error
}

// Store is a connection to a key-value store. Its methods may be called from
// any goroutine; each gives up when its context is done, and none waits for a
// store that does not answer longer than its context or its own time-out of a
// few seconds, whichever ends first.
type Store interface {
	// List gives the pairs below prefix, by key. That nothing is there is an
	// empty list.
	List(ctx context.Context, prefix string) ([]Pair, error)

	// Watch sends what is below prefix at once and whenever it changes, and
	// errors as they come; after one it tries again, by retry at the latest. It
	// closes the channel when ctx is done, and nothing that it started runs any
	// more. A slow reader misses snapshots in between, never the latest.
	Watch(ctx context.Context, prefix string, retry time.Duration) <-chan Snapshot

	// Announce sets a key that ends ttl after the last Announce of it, or with
	// this process where the store offers only that. Repeating it is cheap.
	Announce(ctx context.Context, p Pair, ttl time.Duration) error

	// Withdraw takes back what Announce has set. Nothing set is no error.
	Withdraw(ctx context.Context, key string) error

	// Lock waits until key is ours, with value in it for all to read, and keeps
	// it so until Release or until the store cannot be reached. A key that its
	// holder does not renew is free after ttl.
	Lock(ctx context.Context, p Pair, ttl time.Duration) (Lock, error)

	// Get gives the value of a key, or of the lock of that key; ok is false when
	// there is none.
	Get(ctx context.Context, key string) (value string, ok bool, err error)

	// Close ends the connection and everything that it keeps alive.
	Close() error
}

// Lock is a lock that is held.
type Lock interface {
	// Lost is closed when the lock is, or may be, another's: at the latest when
	// its time has run out by our own clock, counted from the moment at which
	// the last successful renewal was sent. It is closed before the store gives
	// the lock to anyone else, as long as clocks run equally fast.
	Lost() <-chan struct{}

	// Release gives the lock back at once, and ends its goroutines.
	Release(ctx context.Context) error
}
