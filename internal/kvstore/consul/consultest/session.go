package consultest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// longestTTL is the most that Consul takes.
const longestTTL = 24 * time.Hour

// session is one as the API shows it.
type session struct {
	ID          string
	Name        string
	Node        string
	LockDelay   time.Duration
	Behavior    string
	TTL         string
	NodeChecks  []string
	CreateIndex uint64
	ModifyIndex uint64

	ttl    time.Duration
	expiry *time.Timer
}

func (s *Server) createSession(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Name, Behavior, TTL, LockDelay string
		NodeChecks                     *[]string
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&asked); err != nil {
		http.Error(w, fmt.Sprintf("Request decode failed: %v", err), http.StatusBadRequest)
		return
	}
	ttl, err := time.ParseDuration(asked.TTL)
	if err != nil {
		http.Error(w, fmt.Sprintf("Request decode failed: TTL: %v", err), http.StatusBadRequest)
		return
	}
	if ttl < s.options.SessionTTLMin || ttl > longestTTL {
		http.Error(w, fmt.Sprintf("rpc error making call: Invalid Session TTL '%d', must be between [%v=%v]", ttl, s.options.SessionTTLMin, longestTTL), http.StatusInternalServerError)
		return
	}
	delay := 15 * time.Second
	if asked.LockDelay != "" {
		if delay, err = time.ParseDuration(asked.LockDelay); err != nil {
			http.Error(w, fmt.Sprintf("Request decode failed: LockDelay: %v", err), http.StatusBadRequest)
			return
		}
	}
	checks := []string{"serfHealth"}
	if asked.NodeChecks != nil {
		checks = *asked.NodeChecks
	}
	if asked.Behavior == "" {
		asked.Behavior = "release"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	id := fmt.Sprintf("adf4238a-882b-9ddc-4a9d-%012d", s.made)
	s.index++
	s.sessions[id] = &session{
		ID: id, Name: asked.Name, Node: "consultest", LockDelay: delay, Behavior: asked.Behavior, TTL: asked.TTL,
		NodeChecks: checks, CreateIndex: s.index, ModifyIndex: s.index, ttl: ttl,
		expiry: time.AfterFunc(s.patience(ttl), func() { s.Expire(id) }),
	}
	answer(w, map[string]string{"ID": id})
}

// patience is how long a session lives after its last renewal.
func (s *Server) patience(ttl time.Duration) time.Duration {
	if s.options.Strict {
		return ttl
	}
	return 2 * ttl
}

func (s *Server) renewSession(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sessions[id]
	if one == nil {
		http.Error(w, fmt.Sprintf("Session id '%s' not found", id), http.StatusNotFound)
		return
	}
	one.expiry.Reset(s.patience(one.ttl))
	answer(w, []*session{one})
}

func (s *Server) showSession(w http.ResponseWriter, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*session{}
	if one := s.sessions[id]; one != nil {
		found = append(found, one)
	}
	answer(w, found)
}

// Expire ends a session as its TTL, an operator or the loss of its node does: the
// keys that it holds are released or deleted, and stay without a holder for the
// lock delay.
func (s *Server) Expire(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sessions[id]
	if one == nil {
		return
	}
	one.expiry.Stop()
	delete(s.sessions, id)
	for key, e := range s.keys {
		if e.Session != id {
			continue
		}
		s.delayed[key] = time.Now().Add(one.LockDelay)
		if one.Behavior == "delete" {
			s.bury(key)
			continue
		}
		s.change()
		free := *e
		free.Session, free.ModifyIndex = "", s.index
		s.keys[key] = &free
	}
}

// Holder is the ID of the session that holds a key, "" if none does.
func (s *Server) Holder(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.keys[key]; e != nil {
		return e.Session
	}
	return ""
}
