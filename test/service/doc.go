// Package service tests skep as those meet it who keep it running: real
// processes under systemd's own tools, signals, certificates that change, and an
// authorization plugin that is made with Docker's library for plugins. The
// engines behind skep are simulated ones; the clients are the stock docker CLI
// and plain connections.
//
// Everything listens on loopback or in directories of the tests. What a machine
// lacks (the docker CLI, systemd's tools) is skipped and named; with CI=true it
// is a failure.
//
// SKEP_BIN names the skep to test instead of one that is built.
package service
