// Package discovery says where engines come from: the contract between what
// knows their addresses and the cluster that dials them, and the syntax of the
// addresses.
//
// It is the contract only. Each backend is a package of its own below this
// one, and the table of them all is in discovery/backends. A backend knows
// addresses, never engines: whether anything answers there, and who, is for
// the cluster to find out.
//
// The facts are in classic-swarm.md, section 2.
package discovery
