package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// metricsSocket is where the manager gives profiles, in the benchmark's directory.
const metricsSocket = "metrics.sock"

// profile takes a profile of the manager while a part is measured, if profiles
// are wanted. The function that it gives waits for the profile, and writes it.
func (b *bench) profile(ctx context.Context, part string) func() error {
	if b.profiles == "" {
		return func() error { return nil }
	}
	seconds := max(1, int(b.duration/time.Second))
	done := make(chan error, 1)
	go func() { // ends with its one answer, for which profile's caller waits
		metrics := newClient("http://metrics", "unix", filepath.Join(b.dir, metricsSocket))
		profile, err := metrics.do(ctx, http.MethodGet, "/debug/pprof/profile?seconds="+strconv.Itoa(seconds), "")
		if err == nil {
			err = os.WriteFile(filepath.Join(b.profiles, part+".pprof"), profile, 0o644)
		}
		if err != nil {
			err = fmt.Errorf("profile of %s: %w", part, err)
		}
		done <- err
	}()
	return func() error { return <-done }
}
