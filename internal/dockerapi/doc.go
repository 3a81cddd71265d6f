// Package dockerapi is the front door: it listens, reads requests of the
// Docker Engine API, passes them through the middleware to the routers in its
// sub-folders, and writes errors as the engine does.
//
// It owns connections to users and what HTTP asks of both sides: versions,
// headers, limits, hijacked streams. It decides nothing about containers; the
// routers call package cluster for that. This is the one place where an error
// becomes an HTTP status.
package dockerapi
