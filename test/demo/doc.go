// Package demo runs the demo where no real Docker Engine can run, as somebody
// without rights would, and reads what it says.
package demo
