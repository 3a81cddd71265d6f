package zk

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

// small bounds an answer where only single nodes and queues are read, and every
// request. The client library makes its buffers that large for each session, or
// 1.5 MiB where larger answers may come.
const small = 256 << 10

// maxCalls bounds the calls of one session that wait for an answer. The client
// library knows no time-outs: a call that was given up waits on.
const maxCalls = 64

var errBusy = errors.New("too many calls wait for an answer")

// session is one ZooKeeper session. What it made that is ephemeral ends with it.
// The client library connects again by itself; when the session has expired
// meanwhile it begins another one.
type session struct {
	conn   *zk.Conn
	wire   *wire
	events <-chan zk.Event
	calls  chan struct{} // one value for each call under way

	apart atomic.Int64 // since when it has been without a server, in Unix nanoseconds; 0 with one

	mu     sync.Mutex // guards what follows
	closed bool
	live   sync.WaitGroup // calls under way; none begins once closed
}

// begin starts a session without waiting for it. No answer in it may have more
// than largest bytes. onEvent must not block; it may be nil.
func begin(servers []string, timeout time.Duration, largest int, onEvent func(zk.Event)) (*session, error) {
	w := newWire(timeout)
	s := &session{wire: w, calls: make(chan struct{}, maxCalls)}
	s.apart.Store(time.Now().UnixNano())
	notice := func(e zk.Event) {
		switch {
		case e.Type != zk.EventSession:
		case e.State == zk.StateHasSession:
			s.apart.Store(0)
		default:
			s.apart.CompareAndSwap(0, time.Now().UnixNano())
		}
		if onEvent != nil {
			onEvent(e)
		}
	}
	conn, events, err := zk.Connect(servers, timeout,
		zk.WithDialer(w.dial),
		zk.WithHostProvider(&hosts{}),
		zk.WithLogger(silence{}),
		zk.WithLogInfo(false),
		zk.WithMaxBufferSize(largest),
		zk.WithMaxConnBufferSize(small),
		zk.WithEventCallback(notice))
	if err != nil {
		return nil, err
	}
	s.conn, s.events = conn, events
	return s, nil
}

// hopeless tells that the session has been without a server for that long. Once
// it has expired, perhaps nobody says so: servers that have lost their data
// refuse a session that has seen later changes than they know, without a word,
// and the client library tries it for ever. It takes another session then.
func (s *session) hopeless(after time.Duration) bool {
	apart := s.apart.Load()
	return apart != 0 && time.Since(time.Unix(0, apart)) > after
}

// negotiated is how long the server lets the session live without a sign of
// life, zero before it has said so.
func (s *session) negotiated() time.Duration { return s.wire.negotiated() }

// close ends the session, at once for the server too if that can be reached.
// When it returns, nothing of the session runs any more.
func (s *session) close() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		s.conn.Close() // waits for an answer for a second at most
		s.wire.close() // the library would go on reading from a server that hangs
	}
	for range s.events {
		// Until it is closed: then the library's loop has ended.
	}
	s.live.Wait()
}

// start counts a call, or says why there can be none.
func (s *session) start() error {
	select {
	case s.calls <- struct{}{}:
	default:
		return errBusy
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		<-s.calls
		return zk.ErrClosing
	}
	s.live.Add(1)
	return nil
}

func (s *session) end() {
	<-s.calls
	s.live.Done()
}

// ask runs do, which makes calls of the client library, and gives up on it when
// ctx or the timeout ends. do then runs on until the library answers or the
// session is closed; it must look at its context between two calls, and its
// result goes nowhere.
func ask[T any](ctx context.Context, s *session, timeout time.Duration, do func(context.Context, *zk.Conn) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if err := s.start(); err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		defer s.end()
		value, err := do(ctx, s.conn)
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// hosts goes round the servers and leaves their names to the dialer, each time
// anew: the library's own looks them up once, and fails at once if it cannot.
type hosts struct {
	mu      sync.Mutex // guards what follows
	servers []string
	next    int
	tried   int // since the last one that answered
}

func (h *hosts) Init(servers []string) error {
	h.servers = servers
	return nil
}

func (h *hosts) Len() int { return len(h.servers) }

// Next also tells when all have been tried: then the library pauses.
func (h *hosts) Next() (server string, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tried == len(h.servers) {
		h.tried, all = 0, true
	}
	server = h.servers[h.next]
	h.next = (h.next + 1) % len(h.servers)
	h.tried++
	return server, all
}

func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = 0
}

// silence is for a library that logs what it returns as well.
type silence struct{}

func (silence) Printf(string, ...any) {}
