//go:build !linux

package main

import "syscall"

// dieWithParent is for Linux; elsewhere a demo that was killed leaves skep.
func dieWithParent() *syscall.SysProcAttr { return nil }
