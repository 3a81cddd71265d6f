package engine

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// pingServer answers each connection with the given answers, one a request, and
// then closes it.
func pingServer(t *testing.T, answers ...string) (*pinger, *int) {
	t.Helper()
	dialed := 0
	served := make(chan struct{}, 16)
	e, err := New(Config{Address: "a:1", Observer: &silentObserver{}, Dial: func(context.Context, string, string) (net.Conn, error) {
		dialed++
		ours, theirs := net.Pipe()
		go func() {
			defer func() { served <- struct{}{} }()
			defer theirs.Close()
			r := bufio.NewReader(theirs)
			for _, answer := range answers {
				if req, err := http.ReadRequest(r); err != nil || req.URL.Path != "/_ping" {
					return
				}
				if _, err := theirs.Write([]byte(answer)); err != nil {
					return
				}
			}
		}()
		return ours, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := &pinger{engine: e}
	t.Cleanup(func() {
		p.close()
		for range dialed {
			<-served
		}
	})
	return p, &dialed
}

const pong = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"

func ping(t *testing.T, p *pinger) error {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return p.ping(ctx)
}

func TestPing_keepsItsConnectionAndOpensAnotherWhenTheEngineHasClosedIt(t *testing.T) {
	p, dialed := pingServer(t, pong, pong)
	for i, want := range []int{1, 1, 2, 2, 3} {
		if err := ping(t, p); err != nil || *dialed != want {
			t.Fatalf("ping %d: %v after %d connections, not %d", i, err, *dialed, want)
		}
	}
}

func TestPing_tellsWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		name, answer, want string
		status             int
	}{
		{"a refusal", "HTTP/1.1 503 No\r\nContent-Length: 17\r\n\r\n{\"message\":\"ill\"}", "ill", 503},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n\r\n", "malformed HTTP", 0},
		{"the end", "", "the engine closed the connection", 0},
		{"half an answer", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK", "unexpected EOF", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, _ := pingServer(t, tc.answer)
			err := ping(t, p)
			var status *StatusError
			var unreachable *UnreachableError
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatal(err)
			}
			if errors.As(err, &status) != (tc.status != 0) || tc.status == 0 && !errors.As(err, &unreachable) || status != nil && status.Status != tc.status {
				t.Errorf("%T %v", err, err)
			}
			if p.conn != nil {
				t.Error("the connection is kept")
			}
		})
	}
}

func TestPing_doesNotReadAnEndlessAnswer(t *testing.T) {
	p, _ := pingServer(t, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 2*maxPing))
	if err := ping(t, p); err != nil || p.conn != nil {
		t.Errorf("%v, kept: %t", err, p.conn != nil)
	}
}

func TestPing_endsWithItsContext(t *testing.T) {
	p, _ := pingServer(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	p.engine.cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		return ours, nil // nobody reads
	}
	if err := p.ping(ctx); !errors.Is(err, context.DeadlineExceeded) || p.conn != nil {
		t.Errorf("%v, kept: %t", err, p.conn != nil)
	}
}
