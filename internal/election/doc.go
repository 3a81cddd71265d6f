// Package election decides which of several managers acts, by a lock in a
// key-value store, and tells the others who that is.
//
// It owns the lock and the truth about it: [Election.Acting] is true only while
// the lock is held for certain, and what was begun under
// [Election.ActingContext] ends with it. It never acts itself, and does not
// know what there is to do. internal/daemon hands it to those who act, and to
// internal/replica, which sends users to the primary.
package election
