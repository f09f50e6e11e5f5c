//go:build unix

package main

import (
	"os"
	"syscall"
)

var survived = []os.Signal{syscall.SIGPIPE, syscall.SIGXFSZ}
