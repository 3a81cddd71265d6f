// Package cluster makes many engines one: it holds the engines, knows where
// every container, image, network and volume is, resolves names over all of
// them, places new containers and merges what engines answer.
//
// It owns its engines and their goroutines (under [Cluster.Run]) and an index
// of their containers, so that a look-up is not a scan. It keeps
// nothing that an engine does not keep, but for a note of the containers that
// are to be moved when their engine fails, in the [Ledger] it is handed: a
// restarted manager reads all else again.
//
// It knows nothing of HTTP routes. Package dockerapi calls it and forwards to
// the engine it names.
package cluster
