package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/skep/skep/internal/simengine"
)

// desk is where the other commands say what shall happen: HTTP on a socket in
// the directory, which only the directory's owner can reach.
type desk struct {
	listener net.Listener
	lock     *os.File // held by who serves the directory; the kernel lets it go in any case
}

// errServed says that another one serves the directory.
var errServed = errors.New("simulated engines run there already; stop them first")

func deskSocket(dir string) string { return filepath.Join(dir, "desk.sock") }

// openDesk makes the directory this process's own.
func openDesk(dir string) (*desk, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	// A socket that is there was left by one that was killed.
	if err := os.Remove(deskSocket(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		lock.Close()
		return nil, err
	}
	l, err := net.Listen("unix", deskSocket(dir))
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &desk{l, lock}, nil
}

// lockDir is errServed when another process has the lock.
func lockDir(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = errServed
		}
		return nil, err
	}
	return lock, nil
}

// close lets those who wait for the end go on; it is the last thing to happen.
func (d *desk) close() {
	d.listener.Close()
	d.lock.Close()
}

// run answers until ctx is done.
func (d *desk) run(ctx context.Context, stop func(), fleet *simengine.Fleet) {
	mux := http.NewServeMux()
	act := func(do func(context.Context, string) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.Context(), r.FormValue("engine")); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
			}
		}
	}
	mux.HandleFunc("POST /crash", act(fleet.Crash))
	mux.HandleFunc("POST /start", act(fleet.Start))
	mux.HandleFunc("POST /stop", func(http.ResponseWriter, *http.Request) { stop() })
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 1 << 14}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(d.listener) }) // it ends with Shutdown
	<-ctx.Done()
	// Whoever said stop still gets the answer.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
	wg.Wait()
}

// stopServed says stop in dir and waits until nothing is left. Where nobody
// serves there is nothing to do.
func stopServed(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*stopTimeout)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for told := false; ; {
		lock, err := lockDir(dir)
		if !errors.Is(err, errServed) {
			if err == nil {
				lock.Close()
			}
			return err
		}
		if !told { // it may just begin, or end, and not listen
			told = tell(ctx, dir, "stop", "") == nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the simulated engines in %s do not end; %s/log says what they do", dir, dir)
		case <-again.C:
		}
	}
}

// tell says it at the desk in dir.
func tell(ctx context.Context, dir, what, engine string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var dialer net.Dialer
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", deskSocket(dir))
	}}
	target := "http://desk/" + what + "?" + url.Values{"engine": {engine}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("no simulated engines answer in %s: %w", dir, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(answer)))
	}
	return nil
}
