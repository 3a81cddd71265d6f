// Command engines is what `make demo` shows where no real Docker Engine can run:
// simulated ones, which speak Docker's API and run no programs, and a real skep
// in front of them.
//
//	engines serve DIR 50 SKEP   until SIGTERM, or engines stop
//	engines crash DIR sim-7
//	engines start DIR sim-7
//	engines stop DIR            and wait until all of it is gone
//
// Everything is in DIR: a socket for each engine, skep's, and one by which the
// other commands reach the first. It needs no root, and listens on nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

const usage = "usage: engines serve DIR COUNT SKEP | crash DIR ENGINE | start DIR ENGINE | stop DIR"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "engines:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 4 && args[0] == "serve":
		count, err := strconv.Atoi(args[2])
		if err != nil {
			return fmt.Errorf("%q is no number of engines", args[2])
		}
		return serve(ctx, args[1], count, args[3])
	case len(args) == 3 && (args[0] == "crash" || args[0] == "start"):
		return tell(ctx, args[1], args[0], args[2])
	case len(args) == 2 && args[0] == "stop":
		return stopServed(ctx, args[1])
	}
	return errors.New(usage)
}
