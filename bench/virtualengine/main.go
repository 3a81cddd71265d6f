// Command virtualengine measures `skep manage` in front of many simulated
// engines, sets the figures beside their goals, and with -check fails when one
// is missed.
//
// It starts itself again as the simulator, so that what the engines cost is not
// counted, and skep, built from this tree unless -skep names a binary. Both end
// with it, however it ends.
//
//	go run ./bench/virtualengine -engines 1000 -containers 30000 -clients 10
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

type options struct {
	engines, containers, clients int
	cycles                       int
	duration, idle, latency      time.Duration
	skep, profiles               string
	json, check, simulate        bool
	dir                          string
}

func main() {
	// Children die with the thread that started them: keep it.
	runtime.LockOSThread()
	var o options
	flag.IntVar(&o.engines, "engines", 1000, "simulated engines")
	flag.IntVar(&o.containers, "containers", 30_000, "containers over all engines")
	flag.IntVar(&o.clients, "clients", 10, "clients that ask in parallel")
	flag.IntVar(&o.cycles, "cycles", 10_000, "create/remove cycles for the memory series; 0 leaves it out")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "how long each kind of request is measured")
	flag.DurationVar(&o.idle, "idle", 30*time.Second, "how long the idle manager is watched; 0 leaves it out")
	flag.DurationVar(&o.latency, "latency", 0, "how long each engine waits before it answers")
	flag.StringVar(&o.skep, "skep", "", "the skep binary; built from this tree when empty")
	flag.StringVar(&o.profiles, "profiles", "", "write a profile of skep's processor time for each part into this directory")
	flag.BoolVar(&o.json, "json", false, "write the figures as JSON")
	flag.BoolVar(&o.check, "check", false, "exit with status 1 when a goal is missed")
	flag.BoolVar(&o.simulate, "simulate", false, "be the simulator until stdin ends; used by the benchmark itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := measure
	if o.simulate {
		run = simulate
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "virtualengine:", err)
		stop()
		os.Exit(1)
	}
}

// errMissed says that -check found a goal missed; the table tells which.
var errMissed = errors.New("at least one goal is missed")

func measure(ctx context.Context, o options) (err error) {
	if o.engines < 1 || o.clients < 1 || o.containers < o.engines {
		return errors.New("give at least one engine, one client and as many containers as engines")
	}
	if o.dir, err = os.MkdirTemp("", "skep-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	if o.skep == "" {
		o.skep = filepath.Join(o.dir, "skep")
		build := exec.CommandContext(ctx, "go", "build", "-o", o.skep, "./cmd/skep")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build skep (run this in its source tree, or name a binary with -skep): %w", err)
		}
	}
	sim, addresses, err := startSimulator(ctx, o)
	if err != nil {
		return err
	}
	defer sim.stop()
	report := newReport(o)
	manager, err := startManager(o, addresses)
	if err != nil {
		return err
	}
	defer manager.stop()
	b := &bench{options: o, manager: manager, engines: addresses, report: report}
	if err := b.run(ctx); err != nil {
		return fmt.Errorf("%w\nskep's last words: %s", err, manager.lastWords())
	}
	report.finish()
	if o.json {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	} else {
		report.print(os.Stdout)
	}
	if o.check && report.Missed > 0 {
		return errMissed
	}
	return nil
}
