package dockerapi_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
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
	s := dockerapi.NewServer(h, slog.New(slog.DiscardHandler))
	s.Grace = 5 * time.Second
	d := openServer(t, s)
	question, order := make(chan string, 1), make(chan string, 1)
	for method, answer := range map[string]chan string{http.MethodGet: question, http.MethodPost: order} {
		go func() {
			req, err := http.NewRequestWithContext(context.Background(), method, "http://"+d.addr+"/", nil)
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
	d.stop()
	if got := <-order; got != "done" {
		t.Errorf("the order was answered %q", got)
	}
	<-question
}

// A connection that was taken over is none of the HTTP server's business, and
// yet nothing may run when Serve has returned.
func TestServe_returnsWhenTakenConnectionsHaveEnded(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer close(left)
		defer conn.Close()
		close(arrived)
		<-r.Context().Done()
	})
	s := dockerapi.NewServer(h, slog.New(slog.DiscardHandler))
	s.Grace = 100 * time.Millisecond
	d := openServer(t, s)
	fmt.Fprint(d.dial(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	d.stop()
	select {
	case <-left:
	default:
		t.Error("it goes on")
	}
}

func TestServe_aRequestThatDoesNotEndDoesNotKeepItFromEnding(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	ended := make(chan struct{})
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		defer close(ended)
		close(arrived)
		<-goOn // deaf to all contexts
	})
	s := dockerapi.NewServer(h, slog.New(slog.DiscardHandler))
	s.Grace = 50 * time.Millisecond
	d := openServer(t, s)
	fmt.Fprint(d.dial(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	d.stop()
	close(goOn)
	<-ended
}
