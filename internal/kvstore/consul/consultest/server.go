// Package consultest is a small Consul for tests: sessions and keys of the HTTP
// API, with blocking queries, TTLs and lock delays.
//
// It was written from Consul's documentation (HTTP API: session, kv, blocking
// queries; sessions and distributed locks), and never compared with an agent.
// What the documentation leaves open is done as unkindly to a client as it
// permits, unless Options say otherwise.
package consultest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say how the server behaves.
type Options struct {
	// SessionTTLMin is Consul's session_ttl_min; 0 means its default of 10 s.
	SessionTTLMin time.Duration
	// Strict ends sessions right after their TTL, which Consul permits itself. It
	// is known to wait for twice that, and so does this server unless Strict.
	Strict bool
	// Token is asked for with each request; empty means none.
	Token string
}

// Server answers as an agent of Consul does. Its clock is that of the time
// package, so that a test in a bubble of testing/synctest rules over it.
type Server struct {
	options Options
	// life ends with Close; requests that wait end with it.
	life context.Context
	end  context.CancelFunc

	// mu guards what follows.
	mu       sync.Mutex
	index    uint64
	keys     map[string]*entry
	sessions map[string]*session
	// graves are the indexes of removed keys: a list below them has moved on.
	graves map[string]uint64
	// delayed keys may not be acquired before their time.
	delayed map[string]time.Time
	// changed is closed, and replaced, with each change.
	changed chan struct{}
	made    int
	fail    func(*http.Request) (int, string)
	seen    []string
}

// entry is a key as the API shows it.
type entry struct {
	LockIndex   uint64
	Key         string
	Flags       uint64
	Value       []byte
	Session     string `json:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64
}

// New starts an empty server, which Close ends.
func New(o Options) *Server {
	if o.SessionTTLMin == 0 {
		o.SessionTTLMin = 10 * time.Second
	}
	s := &Server{
		options: o, index: 10,
		keys: map[string]*entry{}, sessions: map[string]*session{},
		graves: map[string]uint64{}, delayed: map[string]time.Time{},
		changed: make(chan struct{}),
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Close ends timers, and requests that wait.
func (s *Server) Close() {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions {
		one.expiry.Stop()
	}
}

// Fail lets each request for which f gives a status fail with it and its text;
// status -1 means that it hangs until it is given up. Nil ends that.
func (s *Server) Fail(f func(*http.Request) (status int, text string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

// Requests gives method and path of each request since the last call.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

// Sessions gives the names of the sessions that live, in order.
func (s *Server) Sessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{}
	for _, one := range s.sessions {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return names
}

// Rewind takes the index back to n, as the restore of an old snapshot does, and
// wakes nobody.
func (s *Server) Rewind(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = n
	for _, e := range s.keys {
		e.ModifyIndex = min(e.ModifyIndex, n)
	}
	clear(s.graves)
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fail := s.fail
	s.seen = append(s.seen, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	if fail != nil {
		switch status, text := fail(r); {
		case status < 0:
			select {
			case <-r.Context().Done():
			case <-s.life.Done():
			}
			return
		case status > 0:
			http.Error(w, text, status)
			return
		}
	}
	if s.options.Token != "" && r.Header.Get("X-Consul-Token") != s.options.Token {
		http.Error(w, "Permission denied: anonymous token lacks permission", http.StatusForbidden)
		return
	}
	verb := r.Method
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/v1/kv/") && verb == http.MethodGet:
		s.get(w, r, strings.TrimPrefix(path, "/v1/kv/"))
	case strings.HasPrefix(path, "/v1/kv/") && verb == http.MethodPut:
		s.put(w, r, strings.TrimPrefix(path, "/v1/kv/"))
	case strings.HasPrefix(path, "/v1/kv/") && verb == http.MethodDelete:
		s.delete(w, r, strings.TrimPrefix(path, "/v1/kv/"))
	case path == "/v1/session/create" && verb == http.MethodPut:
		s.createSession(w, r)
	case strings.HasPrefix(path, "/v1/session/renew/") && verb == http.MethodPut:
		s.renewSession(w, strings.TrimPrefix(path, "/v1/session/renew/"))
	case strings.HasPrefix(path, "/v1/session/destroy/") && verb == http.MethodPut:
		s.Expire(strings.TrimPrefix(path, "/v1/session/destroy/"))
		answer(w, true)
	case strings.HasPrefix(path, "/v1/session/info/") && verb == http.MethodGet:
		s.showSession(w, strings.TrimPrefix(path, "/v1/session/info/"))
	default:
		http.Error(w, "Invalid URL path: not a recognized HTTP API endpoint", http.StatusNotFound)
	}
}

// get answers about a key or, with recurse, all that begin with it; with an
// index, once there is something newer or the wait is over.
func (s *Server) get(w http.ResponseWriter, r *http.Request, key string) {
	q := r.URL.Query()
	recurse := q.Has("recurse")
	behind, err := strconv.ParseUint(q.Get("index"), 10, 64)
	if q.Has("index") && err != nil {
		http.Error(w, "Invalid index", http.StatusBadRequest)
		return
	}
	wait := 5 * time.Minute
	if text := q.Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil {
			http.Error(w, "Invalid wait time", http.StatusBadRequest)
			return
		}
	}
	wait = min(wait, 10*time.Minute)
	over := time.NewTimer(wait + wait/16)
	defer over.Stop()
	for waiting := behind > 0; ; {
		found, index, changed := s.find(key, recurse)
		if waiting && index <= behind {
			select {
			case <-changed:
				continue
			case <-over.C:
				waiting = false
				continue
			case <-r.Context().Done():
				return
			case <-s.life.Done():
				return
			}
		}
		w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("X-Consul-LastContact", "0")
		if len(found) == 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		answer(w, found)
		return
	}
}

// find gives copies of the keys, the index of the answer, and what is closed with
// the next change.
func (s *Server) find(key string, recurse bool) ([]entry, uint64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []entry
	var index uint64
	for name, e := range s.keys {
		if name == key || recurse && strings.HasPrefix(name, key) {
			found = append(found, *e)
			index = max(index, e.ModifyIndex)
		}
	}
	for name, at := range s.graves {
		if name == key || recurse && strings.HasPrefix(name, key) {
			index = max(index, at)
		}
	}
	slices.SortFunc(found, func(a, b entry) int { return strings.Compare(a.Key, b.Key) })
	if index == 0 {
		index = s.index
	}
	return found, index, s.changed
}

// put writes a key, plainly or under the conditions of cas, acquire or release.
func (s *Server) put(w http.ResponseWriter, r *http.Request, key string) {
	value, err := io.ReadAll(io.LimitReader(r.Body, 512<<10+1))
	if err != nil || len(value) > 512<<10 {
		http.Error(w, fmt.Sprintf("Request body(%d bytes) too large, max size: 524288 bytes.", len(value)), http.StatusRequestEntityTooLarge)
		return
	}
	q := r.URL.Query()
	flags, _ := strconv.ParseUint(q.Get("flags"), 10, 64)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[key]
	holder := ""
	var locks uint64
	if e != nil {
		holder, locks = e.Session, e.LockIndex
	}
	switch {
	case key == "":
		http.Error(w, "Missing key name", http.StatusBadRequest)
		return
	case q.Has("acquire"):
		id := q.Get("acquire")
		switch until := s.delayed[key]; {
		case s.sessions[id] == nil:
			http.Error(w, fmt.Sprintf("rpc error making call: invalid session %q", id), http.StatusInternalServerError)
			return
		case holder == id:
		case holder != "", time.Now().Before(until):
			answer(w, false)
			return
		default:
			locks++
		}
		holder = id
	case q.Has("release"):
		if holder == "" || holder != q.Get("release") {
			answer(w, false)
			return
		}
		holder = ""
	case q.Has("cas"):
		at, _ := strconv.ParseUint(q.Get("cas"), 10, 64)
		if at == 0 && e != nil || at > 0 && (e == nil || e.ModifyIndex != at) {
			answer(w, false)
			return
		}
	}
	s.change()
	created := s.index
	if e != nil {
		created = e.CreateIndex
	}
	s.keys[key] = &entry{Key: key, Value: value, Flags: flags, Session: holder, LockIndex: locks, CreateIndex: created, ModifyIndex: s.index}
	delete(s.graves, key)
	answer(w, true)
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request, key string) {
	q := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.keys[key]; q.Has("cas") && (e == nil || strconv.FormatUint(e.ModifyIndex, 10) != q.Get("cas")) {
		answer(w, false)
		return
	}
	for name := range s.keys {
		if name == key || q.Has("recurse") && strings.HasPrefix(name, key) {
			s.bury(name)
		}
	}
	answer(w, true)
}

// bury removes a key; mu is held.
func (s *Server) bury(key string) {
	s.change()
	delete(s.keys, key)
	s.graves[key] = s.index
}

// change moves the index on and wakes who waits; mu is held.
func (s *Server) change() {
	s.index++
	close(s.changed)
	s.changed = make(chan struct{})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	// The client that has gone away is all that can fail here.
	_ = json.NewEncoder(w).Encode(body)
}
