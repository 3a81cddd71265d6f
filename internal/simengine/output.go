package simengine

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxAttached bounds the streams that one engine holds open for attach.
const maxAttached = 1024

// line is the one line that every simulated container writes when it starts.
func (e *Engine) line(c *container) []byte {
	line := "simulated container " + c.name + " runs on " + e.cfg.Name + "\n"
	if c.tty {
		return []byte(line)
	}
	return append(binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(len(line))), line...)
}

func (c *container) streamType() string {
	if c.tty {
		return "application/vnd.docker.raw-stream"
	}
	return "application/vnd.docker.multiplexed-stream"
}

// logs gives the line of a container that was started.
func (e *Engine) logs(w http.ResponseWriter, r *http.Request, ref string) {
	query := r.URL.Query()
	stdout, _ := strconv.ParseBool(query.Get("stdout"))
	stderr, _ := strconv.ParseBool(query.Get("stderr"))
	follow, _ := strconv.ParseBool(query.Get("follow"))
	e.mu.Lock()
	c, err := e.find(ref)
	if err != nil {
		e.mu.Unlock()
		failWith(w, err)
		return
	}
	if !stdout && !stderr {
		e.mu.Unlock()
		fail(w, http.StatusBadRequest, "Bad parameters: you must choose at least one stream")
		return
	}
	var out []byte
	if stdout && !c.started.IsZero() && query.Get("tail") != "0" {
		out = e.line(c)
	}
	kind := c.streamType()
	ended := c.await(untilNotRunning)
	e.mu.Unlock()
	defer e.leave(c, ended)
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(out) // a client that has gone needs no answer
	if !follow {
		return
	}
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-ended:
	}
}

// attach is a stream that brings the container's line when it starts and ends
// when it stops. What is written to the container goes nowhere.
func (e *Engine) attach(w http.ResponseWriter, r *http.Request, ref string) {
	stdout, _ := strconv.ParseBool(r.URL.Query().Get("stdout"))
	e.mu.Lock()
	c, err := e.find(ref)
	if err == nil && e.attached >= maxAttached {
		err = &failure{http.StatusServiceUnavailable, fmt.Sprintf("engine %s is simulated and holds %d attached streams, its limit; end some of them", e.cfg.Name, maxAttached)}
	}
	if err != nil {
		e.mu.Unlock()
		failWith(w, err)
		return
	}
	e.attached++
	started, ended := c.await(untilStarted), c.await(untilNextExit)
	if c.alive() {
		started <- 0 // has room: nothing else is told while mu is held
		delete(c.waiters, started)
		stdout = false // its line was written before
	}
	kind, line := c.streamType(), e.line(c)
	e.mu.Unlock()
	defer func() {
		e.leave(c, started, ended)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.attached--
	}()

	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, http.StatusBadRequest, "attach needs a connection of its own, over HTTP/1.1")
		return
	}
	// Whoever hijacks ends the connection; the reader ends with it.
	broken, read := make(chan struct{}), make(chan struct{})
	defer func() {
		conn.Close()
		<-read
	}()
	go func() {
		defer close(read)
		// The end of its input is not yet the end of a client. Past the server's
		// buffer, which would take it for that, and cancel the request.
		if _, err := io.Copy(io.Discard, conn); err != nil {
			close(broken)
		}
	}()
	head := "HTTP/1.1 200 OK\r\nContent-Type: " + kind + "\r\n\r\n"
	if strings.EqualFold(r.Header.Get("Upgrade"), "tcp") {
		head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: " + kind + "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
	}
	if _, err := io.WriteString(conn, head); err != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case <-broken:
			return
		case <-started:
			if stdout {
				if _, err := conn.Write(line); err != nil {
					return
				}
			}
			stdout = false
		case <-ended:
			if stdout && len(started) > 0 { // both at once, and select may take either first
				_, _ = conn.Write(line) // a client that has gone needs no answer
			}
			return
		}
	}
}
