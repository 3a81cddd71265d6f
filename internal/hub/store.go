package hub

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// The buckets of the file. Each number is 8 bytes, big-endian; times are in
// milliseconds since 1970.
//
//	hub        "format" → format, "clusters" → how many tokens, "addresses" → how many addresses
//	clusters   TOKEN → time of last use, number of addresses
//	addresses  TOKEN ADDRESS → the time at which it ends, for how long it was announced
//
// The counts are written in the transaction that changes them, so that limits
// hold exactly and are cheap to check.
var (
	metaBucket      = []byte("hub")
	clustersBucket  = []byte("clusters")
	addressesBucket = []byte("addresses")

	formatKey    = []byte("format")
	clusterCount = []byte("clusters")
	addressCount = []byte("addresses")
)

const format = "skep hub 1"

// Why a request is refused; the front turns these into HTTP statuses.
var (
	errUnknownToken = errors.New("no such token: it was never given, was deleted, or was unused for too long; make one with skep create")
	errFull         = errors.New("the hub is full")
)

// Limits bound what clients can make a hub hold. Zero fields get defaults.
type Limits struct {
	Clusters   int           // tokens in all; 10,000
	PerCluster int           // addresses of one token; 10,000, which is what a manager takes
	Addresses  int           // addresses in all; 200,000
	Unused     time.Duration // a token without addresses that nobody has asked for so long is dropped; 90 days
}

func (l Limits) withDefaults() Limits {
	if l.Clusters <= 0 {
		l.Clusters = 10_000
	}
	if l.PerCluster <= 0 {
		l.PerCluster = 10_000
	}
	if l.Addresses <= 0 {
		l.Addresses = 200_000
	}
	if l.Unused <= 0 {
		l.Unused = 90 * 24 * time.Hour
	}
	return l
}

// store is the tables of the file and their rules. It has no clock: the time
// comes with each call.
type store struct {
	db     *bbolt.DB
	limits Limits
	used   usedTokens
}

// create makes a token.
func (s *store) create(now time.Time) (string, error) {
	raw := make([]byte, tokenLength/2)
	rand.Read(raw) // never fails: see its documentation
	token := hex.EncodeToString(raw)
	err := s.db.Batch(func(tx *bbolt.Tx) error {
		t := open(tx)
		if t.count(clusterCount) >= uint64(s.limits.Clusters) {
			return fmt.Errorf("%w: it holds %d tokens; delete one that is not needed, or raise --max-clusters of skep hub", errFull, s.limits.Clusters)
		}
		if err := t.addCount(clusterCount, 1); err != nil {
			return err
		}
		return t.putCluster(token, clusterRow{used: now})
	})
	return token, err
}

// announce lists addr under token until now+ttl.
func (s *store) announce(token, addr string, now time.Time, ttl time.Duration) error {
	return s.db.Batch(func(tx *bbolt.Tx) error {
		t := open(tx)
		row, ok := t.cluster(token)
		if !ok {
			return errUnknownToken
		}
		key := addressKey(token, addr)
		if t.addresses.Get(key) == nil {
			if row.addresses >= uint64(s.limits.PerCluster) || t.count(addressCount) >= uint64(s.limits.Addresses) {
				// Those that have ended may not have been swept yet.
				removed, err := t.dropEnded(token, now)
				if err != nil {
					return err
				}
				row.addresses -= removed
			}
			if row.addresses >= uint64(s.limits.PerCluster) {
				return fmt.Errorf("%w: the token has %d addresses already; take back those that are not needed, or raise --max-addresses of skep hub", errFull, s.limits.PerCluster)
			}
			if t.count(addressCount) >= uint64(s.limits.Addresses) {
				return fmt.Errorf("%w: it holds %d addresses; delete a token that is not needed, or raise --max-total of skep hub", errFull, s.limits.Addresses)
			}
			row.addresses++
			if err := t.addCount(addressCount, 1); err != nil {
				return err
			}
		}
		row.used = now
		if err := t.putCluster(token, row); err != nil {
			return err
		}
		return t.addresses.Put(key, addressValue(now.Add(ttl), ttl))
	})
}

// list gives the addresses of token that have not ended, sorted.
func (s *store) list(token string, now time.Time) ([]string, error) {
	live := []string{}
	err := s.db.View(func(tx *bbolt.Tx) error {
		t := open(tx)
		if _, ok := t.cluster(token); !ok {
			return errUnknownToken
		}
		t.each(token, func(addr string, ends time.Time) {
			if ends.After(now) {
				live = append(live, addr)
			}
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.used.note(token, now)
	return live, nil
}

// withdraw takes addr from token's list. That it is not there is no error.
func (s *store) withdraw(token, addr string, now time.Time) error {
	return s.db.Batch(func(tx *bbolt.Tx) error {
		t := open(tx)
		row, ok := t.cluster(token)
		if !ok {
			return errUnknownToken
		}
		row.used = now
		key := addressKey(token, addr)
		if t.addresses.Get(key) != nil {
			if err := t.addresses.Delete(key); err != nil {
				return err
			}
			if err := t.addCount(addressCount, -1); err != nil {
				return err
			}
			row.addresses--
		}
		return t.putCluster(token, row)
	})
}

// remove forgets token and all its addresses.
func (s *store) remove(token string) error {
	return s.db.Batch(func(tx *bbolt.Tx) error {
		t := open(tx)
		if _, ok := t.cluster(token); !ok {
			return errUnknownToken
		}
		return t.dropCluster(token)
	})
}

// tables is a transaction's view of the file.
type tables struct{ meta, clusters, addresses *bbolt.Bucket }

func open(tx *bbolt.Tx) tables {
	return tables{meta: tx.Bucket(metaBucket), clusters: tx.Bucket(clustersBucket), addresses: tx.Bucket(addressesBucket)}
}

type clusterRow struct {
	used      time.Time
	addresses uint64
}

func (t tables) cluster(token string) (clusterRow, bool) {
	raw := t.clusters.Get([]byte(token))
	if len(raw) != 16 {
		return clusterRow{}, false
	}
	return clusterRow{
		used:      time.UnixMilli(int64(binary.BigEndian.Uint64(raw))),
		addresses: binary.BigEndian.Uint64(raw[8:]),
	}, true
}

func (t tables) putCluster(token string, row clusterRow) error {
	raw := binary.BigEndian.AppendUint64(number(uint64(row.used.UnixMilli())), row.addresses)
	return t.clusters.Put([]byte(token), raw)
}

// each calls f for the addresses of token in their order.
func (t tables) each(token string, f func(addr string, ends time.Time)) {
	prefix := []byte(token)
	c := t.addresses.Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if len(v) == 16 {
			f(string(k[len(prefix):]), time.UnixMilli(int64(binary.BigEndian.Uint64(v))))
		}
	}
}

// dropEnded removes the addresses of token that have ended, and says how many
// there were. The row of the token is the caller's to write.
func (t tables) dropEnded(token string, now time.Time) (uint64, error) {
	var ended []string
	t.each(token, func(addr string, ends time.Time) {
		if !ends.After(now) {
			ended = append(ended, addr)
		}
	})
	for _, addr := range ended {
		if err := t.addresses.Delete(addressKey(token, addr)); err != nil {
			return 0, err
		}
	}
	return uint64(len(ended)), t.addCount(addressCount, -int64(len(ended)))
}

func (t tables) dropCluster(token string) error {
	var all []string
	t.each(token, func(addr string, _ time.Time) { all = append(all, addr) })
	for _, addr := range all {
		if err := t.addresses.Delete(addressKey(token, addr)); err != nil {
			return err
		}
	}
	if err := t.addCount(addressCount, -int64(len(all))); err != nil {
		return err
	}
	if err := t.addCount(clusterCount, -1); err != nil {
		return err
	}
	return t.clusters.Delete([]byte(token))
}

func (t tables) count(key []byte) uint64 {
	if raw := t.meta.Get(key); len(raw) == 8 {
		return binary.BigEndian.Uint64(raw)
	}
	return 0
}

func (t tables) addCount(key []byte, n int64) error {
	return t.meta.Put(key, number(uint64(int64(t.count(key))+n)))
}

// addressKey needs no mark between its parts: all tokens have one length.
func addressKey(token, addr string) []byte { return []byte(token + addr) }

func addressValue(ends time.Time, ttl time.Duration) []byte {
	return binary.BigEndian.AppendUint64(number(uint64(ends.UnixMilli())), uint64(ttl.Milliseconds()))
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
