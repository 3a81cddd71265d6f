package consul_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul"
)

// exchange is a request as it must be sent, and Consul's answer. The files in
// testdata/exchanges were written by hand from the samples of Consul's HTTP API
// documentation (session, kv, blocking queries), not recorded from an agent:
//
//	> METHOD path?query
//	> body
//	< status index
//	< body
//
// Lines that begin with # are for the reader.
type exchange struct {
	request, body    string
	status           int
	index, answering string
}

func readExchanges(t *testing.T, name string) []exchange {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "exchanges", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []exchange
	sent := false
	for in := bufio.NewScanner(bytes.NewReader(data)); in.Scan(); {
		mark, text, _ := strings.Cut(in.Text(), " ")
		switch {
		case mark == ">" && (len(all) == 0 || all[len(all)-1].status != 0):
			all, sent = append(all, exchange{request: text}), false
		case mark == ">":
			all[len(all)-1].body = text
		case mark == "<" && !sent:
			status, index, _ := strings.Cut(text, " ")
			if all[len(all)-1].status, err = strconv.Atoi(status); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all[len(all)-1].index, sent = index, true
		case mark == "<":
			all[len(all)-1].answering = text
		}
	}
	return all
}

// script answers requests in the order of a file, and refuses all others.
type script struct {
	t *testing.T
	// turns holds a request back until the test sends to it. A watch keeps the
	// latest only, so what is to be seen has to be read before the next answer.
	// Nil holds nothing back.
	turns chan struct{}

	mu   sync.Mutex // guards left
	left []exchange
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if s.turns != nil {
		select {
		case <-s.turns:
		case <-r.Context().Done():
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.left) == 0 {
		// What a watch asks after the end of the file.
		http.Error(w, "the exchange is over", http.StatusServiceUnavailable)
		return
	}
	next := s.left[0]
	s.left = s.left[1:]
	if got := r.Method + " " + r.URL.RequestURI(); got != next.request || strings.TrimSpace(string(body)) != next.body {
		s.t.Errorf("sent\n\t%s\n\t%s\nwant\n\t%s\n\t%s", got, body, next.request, next.body)
	}
	if next.index != "" {
		w.Header().Set("X-Consul-Index", next.index)
	}
	w.WriteHeader(next.status)
	fmt.Fprintln(w, next.answering)
}

func TestExchanges_areThoseOfTheDocumentation(t *testing.T) {
	for name, do := range map[string]func(*testing.T, *consul.Store, chan<- struct{}) error{
		"announce": func(t *testing.T, s *consul.Store, _ chan<- struct{}) error {
			announce(t, s, "docker/swarm/nodes/10.0.0.5:2375", "10.0.0.5:2375", 180*time.Second)
			announce(t, s, "docker/swarm/nodes/10.0.0.5:2375", "10.0.0.5:2375", 180*time.Second)
			return s.Withdraw(t.Context(), "docker/swarm/nodes/10.0.0.5:2375")
		},
		"announce-short-ttl": func(t *testing.T, s *consul.Store, _ chan<- struct{}) error {
			return s.Announce(t.Context(), kvstore.Pair{Key: "nodes/a:1", Value: "a:1"}, 15*time.Second)
		},
		"announce-session-gone": func(t *testing.T, s *consul.Store, _ chan<- struct{}) error {
			return s.Announce(t.Context(), kvstore.Pair{Key: "nodes/a:1", Value: "a:1"}, time.Minute)
		},
		"list": func(t *testing.T, s *consul.Store, _ chan<- struct{}) error {
			found, err := s.List(t.Context(), "docker/swarm/nodes")
			expect(t, "list", text(found), "docker/swarm/nodes/10.0.0.5:2375=10.0.0.5:2375 docker/swarm/nodes/10.0.0.6:2375=10.0.0.6:2375")
			return err
		},
		"watch": func(t *testing.T, s *consul.Store, turns chan<- struct{}) error {
			news := s.Watch(t.Context(), "nodes", time.Minute)
			for _, want := range []string{"", "nodes/zip=test", "nodes/zip=test nodes/zop=test", "nodes/zip=test"} {
				turns <- struct{}{}
				expect(t, "watch", text((<-news).Pairs), want)
			}
			turns <- struct{}{} // the last answer is no news
			turns <- struct{}{}
			if over := <-news; over.Err == nil {
				t.Errorf("the watch sent %v once more", over.Pairs)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			play := &script{t: t, left: readExchanges(t, name)}
			if name == "watch" {
				play.turns = make(chan struct{})
			}
			if err := do(t, dial(t, listen(t, play), consul.Options{}), play.turns); err != nil {
				t.Error(err)
			}
			play.mu.Lock()
			defer play.mu.Unlock()
			for _, e := range play.left {
				t.Errorf("%s was not sent", e.request)
			}
		})
	}
}
