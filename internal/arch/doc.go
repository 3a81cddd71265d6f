// Package arch holds the import rules of the house, as a test: arrows go down
// only, see the map in CONTRIBUTING.md.
package arch
