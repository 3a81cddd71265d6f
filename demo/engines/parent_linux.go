package main

import "syscall"

// dieWithParent lets skep not outlive a demo that was killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
