// Command skep makes many Docker Engines into one.
package main

import (
	"os"

	"github.com/skep/skep/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
