//go:build linux

// Package storetest starts real stores for tests, kills, pauses and wipes them,
// and cuts the way to them. It knows what the programs want on their command
// lines, and nothing of what skep keeps in them.
//
// What it starts listens on the loopback interface alone, and ends with the test,
// or with the process of the tests at the latest.
package storetest
