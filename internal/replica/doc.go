// Package replica is the front door of a manager that may not be the primary:
// what only the primary may answer goes to it, whole, streams and upgraded
// connections included, and the user need not know whom they have asked.
//
// It owns requests on their way to another manager. It does not elect, and
// nothing is sent twice that may have been done once. internal/daemon puts it
// before the API of the virtual engine.
package replica
