package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
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

func ping(t *testing.T, p *pinger) error { return p.ping(t.Context(), 5*time.Second) }

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

// What is no plain answer is left to net/http, with nothing taken from it.
func TestPing_takesAnswersOfAllForms(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		keeps  bool
	}{
		"as engines give it":       {"HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\nContent-Length: 2\r\nDate: now\r\n\r\nOK", true},
		"without a body":           {"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true},
		"in chunks":                {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n", true},
		"that is the last":         {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK", false},
		"with something behind it": {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKmore", false},
		"of another status":        {"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", true},
		"with a folded field":      {"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nOK", true},
		"longer than the buffer":   {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 4000) + "\r\nContent-Length: 2\r\n\r\nOK", true},
	} {
		t.Run(name, func(t *testing.T) {
			p, dialed := pingServer(t, tc.answer, pong)
			if err := ping(t, p); err != nil || (p.conn != nil) != tc.keeps {
				t.Fatalf("%v, kept: %t", err, p.conn != nil)
			}
			if err := ping(t, p); err != nil && tc.keeps || (*dialed == 1) != tc.keeps {
				t.Errorf("the next: %v after %d connections", err, *dialed)
			}
		})
	}
}

// Where plainPong takes an answer, net/http takes it too, and keeps the connection.
func FuzzPlainPong(f *testing.F) {
	for _, s := range []string{pong, "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nOK", "HTTP/1.1 200 \r\nA : b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n: \r\n\r\n", "HTTP/1.1 200 \n\r\nContent-Length: 0\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		fast := bufio.NewReader(bytes.NewReader(answer))
		_, _ = fast.Peek(1)
		if !plainPong(fast) {
			return
		}
		slow := bufio.NewReader(bytes.NewReader(answer))
		resp, err := http.ReadResponse(slow, nil)
		if err != nil {
			t.Skip("net/http is stricter on names and values; the engine lives all the same")
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || resp.Close || slow.Buffered() != 0 || fast.Buffered() != 0 {
			t.Fatalf("%q: %v, %+v", answer, err, resp)
		}
	})
}

func TestPing_doesNotReadAnEndlessAnswer(t *testing.T) {
	p, _ := pingServer(t, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 2*maxPing))
	if err := ping(t, p); err != nil || p.conn != nil {
		t.Errorf("%v, kept: %t", err, p.conn != nil)
	}
}

func TestPing_endsInTime(t *testing.T) {
	p := deafEngine(t)
	if err := p.ping(t.Context(), time.Millisecond); !errors.Is(err, context.DeadlineExceeded) || p.conn != nil {
		t.Errorf("%v, kept: %t", err, p.conn != nil)
	}
}

func TestPing_endsWithItsContext(t *testing.T) {
	p := deafEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if err := p.ping(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := p.ping(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("once more: %v", err)
	}
	p.close()
}

// deafEngine takes connections, and reads nothing.
func deafEngine(t *testing.T) *pinger {
	p, _ := pingServer(t)
	p.engine.cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		return ours, nil
	}
	return p
}

// A thousand engines are probed hundreds of times a second, for ever.
func TestPing_leavesLittleToTheGarbageCollector(t *testing.T) {
	p, _ := pingServer(t, slices.Repeat([]string{pong}, 200)...)
	if err := ping(t, p); err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(100, func() {
		if err := ping(t, p); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%.0f allocations, with those of the engine in this test", allocs)
	if allocs > 40 {
		t.Errorf("a ping takes %.0f allocations", allocs)
	}
}
