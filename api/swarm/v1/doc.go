// Package swarmv1 is what the nodes of a swarm say to each other and what they
// store: the messages and services of docker.swarmkit.v1, which stock engines
// and swarmctl speak. Names, numbers and types are that protocol's
// and must not change.
//
// The Go files are generated: api/generate.sh. Messages that are stored are
// immutable once they are; whoever changes one copies it first.
package swarmv1
