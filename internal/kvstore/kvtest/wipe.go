package kvtest

import (
	"fmt"
	"testing"
	"time"
)

// wiped has the server come back without its data, and with a history that is
// shorter than what its clients have seen of it.
func (s Suite) wiped(t *testing.T) {
	store, reader, at := s.open(t), s.open(t), prefix(t)
	p := pairs(at, "a:1", "b:1", "c:1")
	updates := watching(t, reader, at)
	updates.await()
	must(t, store.Announce(within(t, patience), p[1], s.TTL))
	for i := range 20 {
		passing := pairs(at, fmt.Sprintf("z:%d", i+1))
		must(t, store.Announce(within(t, patience), passing[0], s.TTL))
		withdraw(t, store, passing)
	}
	if _, err := reader.List(within(t, patience), at); err != nil { // has a history, too
		t.Error(err)
	}
	updates.await(p[1])
	s.Wipe(t)
	announceSoon(t, store, p[0])
	announceSoon(t, store, p[1])
	updates.await(p[:2]...)
	announceSoon(t, store, p[2])
	updates.await(p...)
	listed := func() bool {
		got, err := reader.List(within(t, patience), at)
		return err == nil && len(got) == len(p)
	}
	for until := time.Now().Add(patience); !listed(); pause(t.Context(), 200*time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the list does not come back")
		}
	}
	withdraw(t, store, p)
	updates.await()
}
