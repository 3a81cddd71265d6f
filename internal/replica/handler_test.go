package replica_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/replica"
)

func TestReplica_forwardsWholeRequestsAndAnswers(t *testing.T) {
	r, primary := cluster(t, func(m *manager, w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Docker-Container-Path-Stat", "abc")
		w.Header().Set("X-Got", req.Header.Get("X-Registry-Auth")+"|"+req.Header.Get("Skep-Forwarded-By")+"|"+req.Header.Get("User-Agent")+"|"+req.Host)
		echo(m, w, req)
	})
	req := r.request(t, http.MethodPost, "/v1.41/containers/a%2Fb/copy?x=1&y=%20", strings.Repeat("z", 100))
	req.Header.Set("X-Registry-Auth", "secret")
	req.Header.Set("User-Agent", "Docker-Client/99")
	req.Host = "api.moby.localhost"
	got := r.send(t, req)
	got.want(t, http.StatusAccepted, "POST /v1.41/containers/a%2Fb/copy?x=1&y=%20 "+strings.Repeat("z", 100)+" by primary")
	if got.header.Get("X-Docker-Container-Path-Stat") != "abc" || got.header.Get("X-Manager") != "primary" {
		t.Errorf("headers are lost: %v", got.header)
	}
	if h := got.header.Get("X-Got"); h != "secret||Docker-Client/99|api.moby.localhost" {
		t.Errorf("the primary got %s", h)
	}
	r.do(t, http.MethodHead, "/containers/x/archive", "").want(t, http.StatusAccepted)
	r.do(t, http.MethodDelete, "/containers/x", "").want(t, http.StatusAccepted, "DELETE /containers/x  by primary")
	if n := r.asked.Load(); n != 0 {
		t.Errorf("the replica has answered %d requests itself", n)
	}
	if n := primary.asked.Load(); n != 3 {
		t.Errorf("the primary got %d requests", n)
	}
}

func TestReplica_answersItselfWhatIsAboutItself(t *testing.T) {
	r, _ := cluster(t, nil)
	for path, by := range map[string]string{
		"/_ping": "replica", "/v1.24/_ping": "replica", "/info": "replica", "/v1.41/info": "replica", "/debug": "replica", "/v1.41/debug/pprof": "replica",
		"/version": "primary", "/containers/info": "primary", "/containers/x/info": "primary", "/networks/_ping": "primary", "/volumes/debug": "primary",
		"/v1.41/containers/info": "primary", "/vx/info": "primary", "/v/info": "primary", "/information": "primary",
	} {
		got := r.do(t, http.MethodGet, path, "")
		if !strings.HasSuffix(got.body, " by "+by) {
			t.Errorf("%s: answered %q, want it from the %s", path, got.body, by)
		}
	}
}

func TestPrimary_answersEverythingItself(t *testing.T) {
	p := open(t, "primary", nil)
	p.set(true, p.addr)
	p.do(t, http.MethodPost, "/containers/create?name=web", "{}").want(t, http.StatusAccepted, "{} by primary")
}

func TestPrimary_marksWhatMayChangeSomething(t *testing.T) {
	type mark struct{}
	marked := func(c *replica.Config) {
		c.Writing = func(ctx context.Context) context.Context { return context.WithValue(ctx, mark{}, true) }
	}
	p := open(t, "primary", func(_ *manager, w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(mark{}) != nil {
			io.WriteString(w, "marked")
		}
	}, marked)
	p.set(true, p.addr)
	p.do(t, http.MethodPost, "/containers/create", "").want(t, http.StatusOK, "marked")
	if got := p.do(t, http.MethodGet, "/containers/json", ""); got.body != "" {
		t.Error("a question was marked as an order")
	}
}

func TestReplica_waitsForAPrimary(t *testing.T) {
	r, primary := cluster(t, nil)
	r.set(false, "")
	got := r.later(t, http.MethodPost, "/containers/create", "{}")
	select {
	case a := <-got:
		t.Fatalf("answered %q without a primary", a.body)
	case <-time.After(50 * time.Millisecond):
	}
	r.set(false, primary.addr)
	soon(t, "the answer", got).want(t, http.StatusAccepted, "{} by primary")
}

func TestReplica_servesWhatHasWaited_whenItBecomesThePrimary(t *testing.T) {
	r, _ := cluster(t, nil)
	r.set(false, "")
	got := r.later(t, http.MethodPost, "/containers/create", "{}")
	r.set(true, r.addr)
	soon(t, "the answer", got).want(t, http.StatusAccepted, "{} by replica")
}

func TestReplica_saysThatThereIsNoPrimary_whenItHasWaitedLongEnough(t *testing.T) {
	r, _ := cluster(t, nil, func(c *replica.Config) { c.Wait = 50 * time.Millisecond })
	r.set(false, "")
	r.do(t, http.MethodPost, "/containers/x/start", "").want(t, http.StatusServiceUnavailable,
		`{"message":"Unable to reach primary cluster manager (none was elected within 50ms; see whether the discovery store answers, then try again): unknown"}`)
}

func TestReplica_answersQuestionsItself_whileThereIsNoPrimary(t *testing.T) {
	r, _ := cluster(t, nil, func(c *replica.Config) { c.Wait = 50 * time.Millisecond })
	r.do(t, http.MethodGet, "/containers/json", "").want(t, http.StatusAccepted, "by primary")
	for what, address := range map[string]string{"nobody leads": "", "who leads is dead": deadAddress(t)} {
		r.set(false, address)
		r.do(t, http.MethodGet, "/containers/json", "").want(t, http.StatusAccepted, "by replica")
		for _, order := range []string{"/containers/create", "/containers/x/start"} {
			r.do(t, http.MethodPost, order, "").want(t, http.StatusServiceUnavailable, "Unable to reach primary cluster manager (")
		}
		if got := r.do(t, http.MethodGet, "/exec/x/json", ""); got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: it says %d of an exec that another has begun", what, got.status)
		}
	}
}

func TestReplica_thatHasMetNoPrimaryYet_hasNoAnswersOfItsOwn(t *testing.T) {
	r := open(t, "replica", nil, func(c *replica.Config) { c.Wait = 50 * time.Millisecond })
	r.do(t, http.MethodGet, "/containers/json", "").want(t, http.StatusServiceUnavailable, "none was elected")
}

func TestReplica_asksTheNewPrimary_whenTheOldOneHangsOverWhatItHasNotBegun(t *testing.T) {
	silent := hole(t)
	r, primary := cluster(t, nil)
	r.set(false, silent)
	question, order := r.later(t, http.MethodGet, "/containers/json", ""), r.later(t, http.MethodPost, "/containers/create", "{}")
	select {
	case a := <-question:
		t.Fatalf("answered %q", a.body)
	case a := <-order:
		t.Fatalf("answered %q", a.body)
	case <-time.After(100 * time.Millisecond): // both have been sent
	}
	r.set(false, primary.addr)
	soon(t, "the answer to the question", question).want(t, http.StatusAccepted, "by primary")
	soon(t, "the answer to the order", order).want(t, http.StatusAccepted, "{} by primary")
}

func TestPrimary_tellsWhenItsOrdersAreCarriedOut(t *testing.T) {
	finish := make(chan struct{})
	p := open(t, "primary", func(_ *manager, _ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/quick" {
			<-finish
		}
	})
	p.set(true, p.addr)
	p.handler.Quiet(t.Context())
	question, order := p.later(t, http.MethodGet, "/events", ""), p.later(t, http.MethodPost, "/containers/create", "{}")
	soon(t, "the first request", p.started)
	soon(t, "the second request", p.started)
	p.do(t, http.MethodPost, "/quick", "")
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if p.handler.Quiet(short); short.Err() == nil {
		t.Error("it is quiet while an order is under way")
	}
	quiet := make(chan struct{})
	go func() { p.handler.Quiet(t.Context()); close(quiet) }()
	finish <- struct{}{}
	finish <- struct{}{}
	soon(t, "the quiet", quiet)
	soon(t, "the answer", question)
	soon(t, "the answer", order)
}

func TestReplica_saysWhyThePrimaryCannotBeReached(t *testing.T) {
	dead := deadAddress(t)
	r := open(t, "replica", nil, func(c *replica.Config) { c.Wait = 50 * time.Millisecond })
	r.set(false, dead)
	r.do(t, http.MethodPost, "/containers/create", "{}").want(t, http.StatusServiceUnavailable,
		"Unable to reach primary cluster manager (", "connection refused", "): "+dead)
}

func TestReplica_letsGoOfWaiters_whoseClientHasLeft(t *testing.T) {
	r := open(t, "replica", nil, func(c *replica.Config) { c.Wait = time.Hour })
	ctx, cancel := context.WithCancel(t.Context())
	req := r.request(t, http.MethodGet, "/containers/json", "").WithContext(ctx)
	failed := make(chan error, 1)
	go func() {
		_, err := r.server.Client().Do(req)
		failed <- err
	}()
	time.AfterFunc(20*time.Millisecond, cancel)
	if soon(t, "the client's error", failed) == nil {
		t.Fatal("answered without a primary")
	}
	closed := make(chan struct{})
	go func() { r.server.Close(); close(closed) }()
	soon(t, "the end of the waiting handler", closed)
}

func TestReplica_asksTheNewPrimary_whenTheOldOneIsGone(t *testing.T) {
	r, primary := cluster(t, nil)
	r.set(false, deadAddress(t))
	got := r.later(t, http.MethodPost, "/containers/create", "{}")
	select {
	case a := <-got:
		t.Fatalf("answered %q by nobody", a.body)
	case <-time.After(50 * time.Millisecond):
	}
	r.set(false, primary.addr)
	soon(t, "the answer", got).want(t, http.StatusAccepted, "{} by primary")
}

func TestReplica_neverSendsAnOrderTwice(t *testing.T) {
	r, primary := cluster(t, func(m *manager, w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		panic(http.ErrAbortHandler) // as if killed after it has done it
	})
	for _, body := range []string{"", "{}"} {
		before := primary.asked.Load()
		r.do(t, http.MethodPost, "/containers/create", body).want(t, http.StatusInternalServerError,
			"Unable to reach primary cluster manager (", "it is not known whether it has carried this out", "): "+primary.addr)
		if n := primary.asked.Load() - before; n != 1 {
			t.Errorf("the order %q was sent %d times", body, n)
		}
	}
}

func TestReplica_repeatsAQuestion_whenThePrimaryDiesOverIt(t *testing.T) {
	r, primary := cluster(t, func(m *manager, w http.ResponseWriter, req *http.Request) {
		if m.asked.Load() <= 2 {
			panic(http.ErrAbortHandler)
		}
		echo(m, w, req)
	})
	r.do(t, http.MethodGet, "/containers/json", "").want(t, http.StatusAccepted, "by primary")
	if primary.asked.Load() < 3 {
		t.Error("the question was not repeated")
	}
}

func TestReplica_asksAgain_whenItsPrimaryIsNoneYet(t *testing.T) {
	for _, body := range []string{"", "{}", strings.Repeat("x", 1<<20)} {
		r, primary := cluster(t, nil)
		third := open(t, "third", nil)
		third.set(true, third.addr)
		primary.set(false, third.addr) // it knows more than the replica
		got := r.later(t, http.MethodPost, "/containers/create", body)
		select {
		case a := <-got:
			t.Fatalf("answered %d %.100q", a.status, a.body)
		case <-time.After(50 * time.Millisecond):
		}
		if third.asked.Load() != 0 {
			t.Error("a forwarded request was forwarded again")
		}
		r.set(false, third.addr)
		soon(t, "the answer", got).want(t, http.StatusAccepted, "create "+body+" by third")
	}
}

func TestReplica_refusesToForwardWhatWasForwarded(t *testing.T) {
	a, b := open(t, "a", nil), open(t, "b", nil, func(c *replica.Config) { c.Wait = 100 * time.Millisecond })
	a.set(false, b.addr)
	b.set(false, a.addr)
	got := b.do(t, http.MethodPost, "/containers/x/start", "")
	got.want(t, http.StatusServiceUnavailable, "it is not the primary any more, or not yet", a.addr)
	if got.header.Get("Skep-Not-Primary") != "" {
		t.Error("what is between managers has reached the user")
	}
	req := a.request(t, http.MethodGet, "/containers/json", "")
	req.Header.Set("Skep-Forwarded-By", "192.0.2.9:1")
	if got := a.send(t, req); got.header.Get("Skep-Not-Primary") == "" || got.status != http.StatusServiceUnavailable {
		t.Errorf("a forwarded request was answered %d %q", got.status, got.body)
	}
}

func TestReplica_whichHasStopped_forwardsNothing(t *testing.T) {
	r, _ := cluster(t, nil)
	r.stop()
	r.do(t, http.MethodGet, "/containers/json", "").want(t, http.StatusServiceUnavailable, "this manager is stopping")
}
