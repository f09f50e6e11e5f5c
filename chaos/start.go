package main

import (
	"os/exec"
	"runtime"
)

// startLocked starts children that die with this program. The kernel sends
// Pdeathsig when the *thread* that started them ends, so one thread that lives
// as long as the program starts them all.
var starter = func() chan func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range jobs {
			f()
		}
	}()
	return jobs
}()

func startLocked(cmd *exec.Cmd) error {
	err := make(chan error)
	starter <- func() { err <- cmd.Start() }
	return <-err
}
