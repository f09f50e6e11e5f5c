package broker

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncfs writes everything of the file system that holds dir to the disk, and says when that failed (Linux 5.8 and newer do).
var syncfs = func(dir *os.File) error { return unix.Syncfs(int(dir.Fd())) }
