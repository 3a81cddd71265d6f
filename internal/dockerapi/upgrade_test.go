package dockerapi_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	head101 = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nX-Later: kept\r\n\r\n"
	head200 = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
	attach  = "POST /v1.41/containers/x/attach?stdin=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
)

// streaming is an engine that takes over the connection of an attach.
func streaming(t *testing.T, head string, stream func(conn net.Conn, in *bufio.Reader)) *frontDoor {
	t.Helper()
	e := newEngine(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "tcp" || r.Header.Get("Connection") != "Upgrade" || r.URL.RawQuery != "stdin=1" {
			t.Errorf("the engine was asked %s with %v", r.RequestURI, r.Header)
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, head)
		stream(conn, rw.Reader)
	})
	return open(t, route("POST", "/containers/{name:.*}/attach", upgrade(e)))
}

// attachTo sends an attach, and what is to follow right behind it, and reads
// the head of the answer.
func (d *frontDoor) attachTo(behind string) (*net.TCPConn, *bufio.Reader, *http.Response) {
	d.t.Helper()
	conn := d.dial()
	_, _ = io.WriteString(conn, attach+behind)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return conn, in, resp
}

func TestUpgrade_carriesBytesBothWays(t *testing.T) {
	for name, head := range map[string]string{"101": head101, "200, as for old clients": head200} {
		t.Run(name, func(t *testing.T) {
			d := streaming(t, head+"early output\n", func(conn net.Conn, in *bufio.Reader) {
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						fmt.Fprintf(conn, "end of input: %v\n", err)
						return
					}
					fmt.Fprint(conn, "echo ", line)
				}
			})
			conn, in, resp := d.attachTo("early input\n")
			if !strings.HasPrefix(head, "HTTP/1.1 "+resp.Status) || resp.Header.Get("Content-Type") != "application/vnd.docker.raw-stream" {
				t.Errorf("head %s %v", resp.Status, resp.Header)
			}
			if resp.StatusCode == 101 && (resp.Header.Get("Upgrade") != "tcp" || resp.Header.Get("Connection") != "Upgrade" || resp.Header.Get("X-Later") != "kept") {
				t.Errorf("head %v", resp.Header)
			}
			want := func(line string) {
				t.Helper()
				if got, err := in.ReadString('\n'); got != line+"\n" {
					t.Fatalf("got %q, %v, want %q", got, err, line)
				}
			}
			want("early output")
			want("echo early input")
			big := strings.Repeat("x", 1<<20)
			go fmt.Fprintln(conn, big)
			want("echo " + big)
			// The end of one direction leaves the other open.
			_ = conn.CloseWrite()
			want("end of input: EOF")
			if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("the end is %v", err)
			}
		})
	}
}

// `echo data | docker run -i` ends its input at once, and then waits for output.
func TestUpgrade_outputComesLongAfterTheEndOfInput(t *testing.T) {
	release := make(chan struct{})
	d := streaming(t, head101, func(conn net.Conn, in *bufio.Reader) {
		input, _ := io.ReadAll(in)
		<-release
		for range 100 {
			fmt.Fprintf(conn, "%s", input)
		}
	})
	conn, in, _ := d.attachTo("data ")
	_ = conn.CloseWrite()
	// What watches the connection has time to find out that the input ended.
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	if got, err := io.ReadAll(in); string(got) != strings.Repeat("data ", 100) || err != nil {
		t.Errorf("%d bytes of output, %v", len(got), err)
	}
}

// curl asks whether a body is wanted before it sends one. The door answers that
// itself: of the engine's answers, only the last one is awaited.
func TestUpgrade_aClientThatAsksWhetherItsBodyIsWanted(t *testing.T) {
	e := newEngine(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%sgot %s", head101, body)
	})
	d := open(t, route("POST", "/exec/{id}/start", upgrade(e)))
	conn := d.dial()
	_, _ = io.WriteString(conn, "POST /exec/x/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}")
	in := bufio.NewReader(conn)
	for _, want := range []int{http.StatusContinue, http.StatusSwitchingProtocols} {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Fatalf("answered %s, want %d", resp.Status, want)
		}
	}
	if got, err := io.ReadAll(in); string(got) != "got {}" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A client may end its input before the engine has even agreed.
func TestUpgrade_inputThatEndsBeforeTheAnswer(t *testing.T) {
	ended := make(chan struct{})
	e := newEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		<-ended
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, head101)
		input, _ := io.ReadAll(rw)
		fmt.Fprintf(conn, "got %s", input)
	})
	d := open(t, route("POST", "/containers/{name:.*}/attach", upgrade(e)))
	conn := d.dial()
	_, _ = io.WriteString(conn, attach+"x")
	_ = conn.CloseWrite()
	time.AfterFunc(50*time.Millisecond, func() { close(ended) })
	in := bufio.NewReader(conn)
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); string(got) != "got x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// The engine may end its output and go on reading, as after `docker attach`
// without output.
func TestUpgrade_theEnginesEndLeavesInputOpen(t *testing.T) {
	got := make(chan string, 1)
	d := streaming(t, head101, func(conn net.Conn, in *bufio.Reader) {
		_ = conn.(*net.TCPConn).CloseWrite()
		input, _ := io.ReadAll(in)
		got <- string(input)
	})
	conn, in, _ := d.attachTo("")
	if rest, err := io.ReadAll(in); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	_, _ = io.WriteString(conn, "late input")
	_ = conn.CloseWrite()
	if input := <-got; input != "late input" {
		t.Errorf("the engine got %q", input)
	}
}

func TestUpgrade_refusalsAreOrdinaryAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(http.ResponseWriter)
		status int
		body   string
	}{
		{"the engine's", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(409)
			fmt.Fprintln(w, `{"message":"container x is not running"}`)
		}, 409, `{"message":"container x is not running"}` + "\n"},
		{"an answer with a body", func(w http.ResponseWriter) { fmt.Fprint(w, "detached") }, 200, "detached"},
		{"an engine that breaks off", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 503, "cannot be reached"},
	} {
		for _, ended := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, input ended %t", tc.name, ended), func(t *testing.T) {
				goOn := make(chan struct{})
				e := newEngine(t, func(w http.ResponseWriter, _ *http.Request) {
					<-goOn
					tc.answer(w)
				})
				d := open(t, route("POST", "/containers/{name:.*}/attach", upgrade(e)), route("GET", "/ok", echoVersion))
				conn := d.dial()
				_, _ = io.WriteString(conn, attach)
				if ended {
					_ = conn.CloseWrite()
					time.AfterFunc(50*time.Millisecond, func() { close(goOn) })
				} else {
					close(goOn)
				}
				in := bufio.NewReader(conn)
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != tc.status || !strings.Contains(string(body), tc.body) || resp.Header.Get("Api-Version") != "1.41" {
					t.Errorf("%d %s %v, %v", resp.StatusCode, body, resp.Header, err)
				}
				if ended {
					return
				}
				// It was an ordinary answer: the connection goes on.
				_, _ = io.WriteString(conn, "GET /ok HTTP/1.1\r\nHost: x\r\n\r\n")
				if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 {
					t.Errorf("the next request: %v", err)
				}
			})
		}
	}
}

func TestUpgrade_anEngineThatDisappearsEndsTheStream(t *testing.T) {
	d := streaming(t, head101, func(conn net.Conn, _ *bufio.Reader) {
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close() // with a reset
	})
	_, in, _ := d.attachTo("")
	if _, err := in.ReadByte(); err == nil {
		t.Error("something came")
	}
}

func TestUpgrade_aUserThatDisappearsEndsTheStream(t *testing.T) {
	ended := make(chan error, 1)
	d := streaming(t, head101, func(conn net.Conn, in *bufio.Reader) {
		for {
			if _, err := fmt.Fprintln(conn, strings.Repeat("x", 1000)); err != nil {
				ended <- err
				return
			}
		}
	})
	conn, in, _ := d.attachTo("")
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-ended; !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the engine's side ended with %v", err)
	}
}

func TestUpgrade_streamsEndWithTheServer(t *testing.T) {
	ended := make(chan struct{})
	d := streaming(t, head101, func(_ net.Conn, in *bufio.Reader) {
		_, _ = in.ReadByte()
		close(ended)
	})
	_, in, _ := d.attachTo("")
	d.stop()
	<-ended
	if _, err := in.ReadByte(); err == nil {
		t.Error("something came")
	}
}
