// Package daemon holds the composition roots: what `skep manage` is made of,
// and how its parts are tied. It is the only package that knows all others.
package daemon
