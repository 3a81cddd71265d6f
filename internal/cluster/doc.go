// Package cluster makes many engines one: it holds the engines, knows where
// every container, image, network and volume is, resolves names over all of
// them, places new containers and merges what engines answer.
//
// It owns its engines and their goroutines (under [Cluster.Run]) and an index
// of their containers, so that a look-up is not a scan. It never keeps
// anything an engine does not keep: a restarted manager reads all of it again.
//
// It knows nothing of HTTP routes. Package dockerapi calls it and forwards to
// the engine it names.
package cluster
