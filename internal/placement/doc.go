// Package placement decides on which engine a container goes.
//
// It is pure: nodes and a request in, nodes in order (or the reasons why none
// will do) out. It reads no clock, does no I/O, starts no goroutine and keeps
// no state between calls, so the same question always has the same answer, in
// whatever order the nodes are handed in. Whoever owns the nodes makes the
// snapshot, calls [Policy.Best], and carries the answer out; what happens
// between the two (reservations, retries) is the caller's.
//
// A decision is made in three steps:
//
//  1. Filters drop the nodes that must not be used, in the policy's order, and
//     last of all those that lack the CPU or memory asked for. That last check
//     is no filter that can be left out: every strategy obeys it.
//  2. Soft expressions narrow down what is left. They are taken one by one, in
//     the order of the filters (by default affinities, then constraints) and,
//     within a filter, in the order given. One that no remaining node satisfies
//     is dropped by itself; the others still count.
//  3. The strategy puts the rest in order.
//
// Reasons are put into words only when no node is left, in a second pass: see
// [UnplaceableError].
//
// The language of constraints and affinities and the rules of the filters come
// from standalone Docker Swarm (specs/classic-swarm.md, section 7); the package
// deliberately parts with it where that has a fault, which
// docs/migrating-from-swarm.md lists. docs/placement.md
// tells users the same story.
package placement
