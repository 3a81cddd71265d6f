// Package simengine simulates Docker Engines: the HTTP API with containers
// that "run" without a process, so that thousands of engines with tens of
// thousands of containers fit into one process of a test, a benchmark or a
// demonstration on a machine where no real engine can run.
//
// It owns the simulated engines, their listeners and their connections. It
// keeps what its clients can see consistent (a container that was started shows
// up as running, an event tells, wait returns when it stops, a published port is
// taken, an engine that loses its power and starts again has what it had) and
// takes the rest lightly: no process is run, no image has layers, no packet
// flows. What it does not simulate is answered with status 501 and a sentence
// that says so. It never touches a real engine, and nothing of it survives the
// process.
package simengine
