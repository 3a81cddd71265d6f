// Package etcd is the key-value store etcd, by the third version of its API:
// what is announced and what is locked hangs on leases. It needs etcd 3.4 or
// newer.
//
// One Store is one client with its connections. A store that hangs is noticed
// by the time-outs of calls, and by the pings on its connections.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skep/skep/internal/kvstore"
)

const (
	// defaultTimeout ends a call that etcd does not answer.
	defaultTimeout = 3 * time.Second

	// The client library allows no pings more frequent than this.
	pingEvery   = 10 * time.Second
	pingTimeout = 3 * time.Second

	// reconnectMax bounds the pause between two tries to connect. The default
	// of two minutes would keep a manager waiting after etcd is back.
	reconnectMax = 3 * time.Second

	// maxAnswer bounds one answer: ten thousand addresses are far less.
	maxAnswer = 32 << 20
)

// Options of a store. The zero value is usable.
type Options struct {
	TLS     *tls.Config   // nil for plain text
	Timeout time.Duration // of one call, 3 s if zero
}

// Store is an etcd cluster.
type Store struct {
	name    string // for errors
	client  *clientv3.Client
	timeout time.Duration

	mu        sync.Mutex // guards what follows
	announced map[string]announcement
	locks     map[*lock]struct{}
	closed    bool
}

var _ kvstore.Store = (*Store)(nil)

// New returns the store at the endpoints, each host:port. It does not wait for
// a connection.
func New(endpoints []string, o Options) (*Store, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	urls := make([]string, len(endpoints))
	scheme := "http://"
	if o.TLS != nil {
		scheme = "https://"
	}
	for i, e := range endpoints {
		urls[i] = scheme + e
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            urls,
		TLS:                  o.TLS,
		DialTimeout:          o.Timeout,
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: pingTimeout,
		PermitWithoutStream:  false,
		MaxCallRecvMsgSize:   maxAnswer,
		MaxUnaryRetries:      3, // an error that says why is better than one more try
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{
			// A proxy for the web is not the way to a store nearby.
			grpc.WithNoProxy(),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMax},
				MinConnectTimeout: o.Timeout,
			}),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", strings.Join(endpoints, ","), err)
	}
	return &Store{
		name:      "etcd at " + strings.Join(endpoints, ","),
		client:    client,
		timeout:   o.Timeout,
		announced: make(map[string]announcement),
		locks:     make(map[*lock]struct{}),
	}, nil
}

// Close implements [kvstore.Store]. Locks that are still held are lost, and
// free when their time is over.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	held := s.locks
	s.locks = nil
	s.mu.Unlock()
	for l := range held {
		l.keeper.Stop()
	}
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: close: %w", s.name, err)
	}
	return nil
}

// List implements [kvstore.Store].
func (s *Store) List(ctx context.Context, prefix string) ([]kvstore.Pair, error) {
	pairs, _, err := s.list(ctx, prefix)
	return sorted(pairs), err
}

// list also gives the revision of the store at which it is true.
func (s *Store) list(ctx context.Context, prefix string) (map[string]string, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.client.Get(ctx, kvstore.Below(prefix), clientv3.WithPrefix())
	if err != nil {
		return nil, 0, s.explain("list "+prefix, err)
	}
	pairs := make(map[string]string, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		pairs[string(kv.Key)] = string(kv.Value)
	}
	return pairs, resp.Header.Revision, nil
}

// Get implements [kvstore.Store].
func (s *Store) Get(ctx context.Context, key string) (string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.client.Get(ctx, key)
	if err != nil {
		return "", false, s.explain("read "+key, err)
	}
	if len(resp.Kvs) == 0 {
		return "", false, nil
	}
	return string(resp.Kvs[0].Value), true, nil
}

// explain makes an error say which store it is about and what to look at.
func (s *Store) explain(doing string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded ||
		status.Code(err) == codes.Unavailable {
		return fmt.Errorf("%s does not answer (%s): %w", s.name, doing, err)
	}
	if e := rpctypes.Error(err); errors.Is(e, rpctypes.ErrUserEmpty) || errors.Is(e, rpctypes.ErrPermissionDenied) {
		return fmt.Errorf("%s does not permit to %s: give skep a client certificate whose common name is a user of etcd that may read and write there: %w", s.name, doing, e)
	}
	return fmt.Errorf("%s: %s: %w", s.name, doing, err)
}

func sorted(pairs map[string]string) []kvstore.Pair {
	var list []kvstore.Pair
	for key, value := range pairs {
		list = append(list, kvstore.Pair{Key: key, Value: value})
	}
	slices.SortFunc(list, func(a, b kvstore.Pair) int { return strings.Compare(a.Key, b.Key) })
	return list
}
