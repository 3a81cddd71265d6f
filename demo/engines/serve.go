package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/skep/skep/internal/simengine"
)

// racks have the engines in turn.
var racks = []string{"a", "b", "c"}

// stopTimeout is how long skep may take to end in an orderly way.
const stopTimeout = 15 * time.Second

// serve runs the engines and skep until ctx is done, somebody says stop, or skep
// ends by itself. Nothing of them is left when it returns but the directory.
func serve(ctx context.Context, dir string, count int, skep string) error {
	// First, so that a second one in the same directory does nothing.
	desk, err := openDesk(dir)
	if err != nil {
		return err
	}
	defer desk.close()
	sockets := filepath.Join(dir, "engines")
	if err := os.RemoveAll(sockets); err != nil { // of one that was killed
		return err
	}
	if err := os.Mkdir(sockets, 0o700); err != nil {
		return err
	}
	fleet, err := simengine.Listen(simengine.FleetConfig{
		Engines: count, Dir: sockets,
		Labels: func(engine int) []string { return []string{"rack=" + racks[engine%len(racks)]} },
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() { // in this order, also when skep could not be started
		cancel()
		wg.Wait()
		_ = os.RemoveAll(sockets) // sockets take care of themselves
	}()
	wg.Go(func() { fleet.Run(ctx) })
	wg.Go(func() { desk.run(ctx, cancel, fleet) })

	list := filepath.Join(dir, "list")
	if err := os.WriteFile(list, []byte(strings.Join(fleet.Addresses(), "\n")+"\n"), 0o600); err != nil {
		return err
	}
	return manage(ctx, skep, dir, list)
}

// manage runs skep until ctx is done.
func manage(ctx context.Context, skep, dir, list string) error {
	// It is killed with the thread that started it, where that can be had.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, skep, "manage",
		"-H", "unix://"+filepath.Join(dir, "skep.sock"), "--state-dir", filepath.Join(dir, "state"), "file://"+list)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = dieWithParent()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil
	case err == nil:
		return errors.New("skep ended by itself; its last words stand above")
	default:
		return fmt.Errorf("skep manage: %w; its last words stand above", err)
	}
}
