//go:build !race

// Timers of testing/synctest are known to crash under the race detector before
// Go 1.27, so these stay out of the race run; store_test.go is in it.

package consul_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul/consultest"
)

func TestAnnounce_keyEndsWithItsTTLAfterTheLastAnnouncement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, fake(t, consultest.Options{}))
		announce(t, s, "nodes/a:1", "a:1", 20*time.Second)
		time.Sleep(15 * time.Second)
		announce(t, s, "nodes/a:1", "a:1", 20*time.Second)
		time.Sleep(19 * time.Second)
		expect(t, "after 19 s", list(t, s), "nodes/a:1=a:1")
		time.Sleep(2 * time.Second)
		expect(t, "after 21 s", list(t, s), "")
		announce(t, s, "nodes/a:1", "a:1", 20*time.Second)
		expect(t, "announced again", list(t, s), "nodes/a:1=a:1")
	})
}

func TestAnnounce_repeatedIsTwoReadsAndNoWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		announce(t, s, "nodes/a:1", "a:1", 180*time.Second)
		news := s.Watch(t.Context(), "nodes", time.Second)
		<-news
		synctest.Wait()
		f.Requests()
		for range 10 {
			time.Sleep(60 * time.Second)
			announce(t, s, "nodes/a:1", "a:1", 180*time.Second)
		}
		synctest.Wait()
		select {
		case again := <-news:
			t.Errorf("a heartbeat woke a watch: %v", again)
		default:
		}
		for _, r := range f.Requests() {
			if !strings.HasPrefix(r, "PUT /v1/session/renew/") && !strings.HasPrefix(r, "GET /v1/kv/nodes/") {
				t.Errorf("a heartbeat sent %s", r)
			}
		}
		expect(t, "sessions", strings.Join(f.Sessions(), " "), "skep nodes/a:1")
	})
}

func TestAnnounce_setsRightWhatOthersDidToTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s, by := open(t, f), raw(t, listenPipes(t, f))
		announce(t, s, "nodes/a:1", "a:1", 60*time.Second)
		if _, err := by.KV().Delete("nodes/a:1", nil); err != nil {
			t.Fatal(err)
		}
		expect(t, "deleted by hand", list(t, s), "")
		announce(t, s, "nodes/a:1", "a:1", 60*time.Second)
		expect(t, "announced after that", list(t, s), "nodes/a:1=a:1")
		if _, err := by.KV().Put(&api.KVPair{Key: "nodes/a:1", Value: []byte("x")}, nil); err != nil {
			t.Fatal(err)
		}
		announce(t, s, "nodes/a:1", "a:1", 60*time.Second)
		expect(t, "overwritten by hand and announced", list(t, s), "nodes/a:1=a:1")
		f.Expire(f.Holder("nodes/a:1"))
		announce(t, s, "nodes/a:1", "b:1", 60*time.Second)
		expect(t, "session ended by an operator", list(t, s), "nodes/a:1=b:1")
	})
}

func TestAnnounce_byARestartedProcessNeverTakesTheKeyAway(t *testing.T) {
	for name, ttl := range map[string]time.Duration{"with the same TTL": time.Minute, "with another TTL": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fake(t, consultest.Options{})
				watcher, before, after := open(t, f), open(t, f), open(t, f)
				announce(t, before, "nodes/a:1", "a:1", time.Minute)
				before.Close()
				news := watcher.Watch(t.Context(), "nodes", time.Second)
				expect(t, "at first", text((<-news).Pairs), "nodes/a:1=a:1")
				for range 20 {
					announce(t, after, "nodes/a:1", "a:1", ttl)
					synctest.Wait()
					select {
					case now := <-news:
						t.Errorf("the watch saw a change: %v", now)
					default:
					}
					time.Sleep(30 * time.Second)
				}
				expect(t, "sessions", strings.Join(f.Sessions(), " "), "skep nodes/a:1")
				if err := after.Withdraw(t.Context(), "nodes/a:1"); err != nil {
					t.Fatal(err)
				}
				expect(t, "withdrawn", list(t, watcher), "")
			})
		})
	}
}

func TestAnnounce_takesTheKeyFromASessionThatIsNotOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s, by := open(t, f), raw(t, listenPipes(t, f))
		other, _, err := by.Session().Create(&api.SessionEntry{Name: "other", TTL: "60s"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ok, _, err := by.KV().Acquire(&api.KVPair{Key: "nodes/a:1", Value: []byte("old"), Session: other}, nil); !ok || err != nil {
			t.Fatal(ok, err)
		}
		announce(t, s, "nodes/a:1", "a:1", time.Minute)
		expect(t, "taken", list(t, s), "nodes/a:1=a:1")
		expect(t, "sessions", strings.Join(f.Sessions(), ", "), "other, skep nodes/a:1")
	})
}

func TestAnnounce_usesTheLeastTTLThatTheServerTakesAndSaysSoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		var log bytes.Buffer
		s := openLogged(t, f, slog.New(slog.NewTextHandler(&log, nil)))
		announce(t, s, "nodes/a:1", "a:1", 4*time.Second)
		announce(t, s, "nodes/b:1", "b:1", 4*time.Second)
		creates := 0
		for _, r := range f.Requests() {
			if r == "PUT /v1/session/create" {
				creates++
			}
		}
		if creates != 3 {
			t.Errorf("%d sessions were asked for, want 3: one refused, then two", creates)
		}
		if n := strings.Count(log.String(), "session_ttl_min"); n != 1 {
			t.Errorf("the log speaks of session_ttl_min %d times, want 1:\n%s", n, log.String())
		}
		time.Sleep(19 * time.Second)
		expect(t, "after 19 s", list(t, s), "nodes/a:1=a:1 nodes/b:1=b:1")
		time.Sleep(2 * time.Second)
		expect(t, "after 21 s", list(t, s), "")
	})
}

func TestAnnounce_keepsAShortTTLWhereTheServerTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := openLogged(t, fake(t, consultest.Options{SessionTTLMin: time.Second}), slog.New(slog.NewTextHandler(&log, nil)))
		announce(t, s, "nodes/a:1", "a:1", 4*time.Second)
		time.Sleep(5 * time.Second)
		expect(t, "after 5 s", list(t, s), "")
		expect(t, "log", log.String(), "")
	})
}

func TestAnnounce_onAKeyUnderALongLockDelaySaysSoAndWorksLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s, by := open(t, f), raw(t, listenPipes(t, f))
		other, _, err := by.Session().Create(&api.SessionEntry{Name: "other", TTL: "60s", Behavior: "delete"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ok, _, err := by.KV().Acquire(&api.KVPair{Key: "nodes/a:1", Session: other}, nil); !ok || err != nil {
			t.Fatal(ok, err)
		}
		f.Expire(other)
		err = s.Announce(t.Context(), kvstore.Pair{Key: "nodes/a:1", Value: "a:1"}, time.Minute)
		if err == nil || !strings.Contains(err.Error(), "lock delay") {
			t.Errorf("got %v, want an error that speaks of the lock delay", err)
		}
		time.Sleep(15 * time.Second)
		announce(t, s, "nodes/a:1", "a:1", time.Minute)
		expect(t, "later", list(t, s), "nodes/a:1=a:1")
	})
}

func TestAnnounce_fromManyGoroutinesMakesOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		failed := make(chan error)
		for range 20 {
			go func() {
				failed <- s.Announce(t.Context(), kvstore.Pair{Key: "nodes/a:1", Value: "a:1"}, time.Minute)
			}()
		}
		for range 20 {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
		if all := f.Sessions(); !slices.Equal(all, []string{"skep nodes/a:1"}) {
			t.Errorf("sessions: %v", all)
		}
	})
}
