package dockerapi_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/skep/skep/internal/dockerapi"
)

func TestServe_ordersMayEndAfterAStop_whenQuestionsHadTo(t *testing.T) {
	arrived, asked := make(chan struct{}, 2), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		if r.Method == http.MethodGet {
			<-r.Context().Done() // as events do
			close(asked)
			return
		}
		<-asked // a wait, say, that is over only now
		if err := r.Context().Err(); err != nil {
			t.Errorf("the order was ended with the questions: %v", err)
		}
		_, _ = io.WriteString(w, "done")
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := dockerapi.NewServer(h, slog.New(slog.DiscardHandler))
	s.Grace = 5 * time.Second
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	question, order := make(chan string, 1), make(chan string, 1)
	for method, answer := range map[string]chan string{http.MethodGet: question, http.MethodPost: order} {
		go func() {
			req, err := http.NewRequestWithContext(context.Background(), method, "http://"+l.Addr().String()+"/", nil)
			if err != nil {
				answer <- err.Error()
				return
			}
			resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
			if err != nil {
				answer <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			answer <- string(body)
		}()
		<-arrived
	}
	cancel()
	if got := <-order; got != "done" {
		t.Errorf("the order was answered %q", got)
	}
	<-question
	if err := <-done; err != nil {
		t.Error(err)
	}
}
