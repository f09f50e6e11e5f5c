//go:build linux || darwin || freebsd

package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// whichDirectory tells a directory from its copies, and the kernel from others.
// What a container changes at each start, its name and its paths, is not in it:
// a volume stays the same directory, and containers share the kernel's boot id.
func whichDirectory(dir string) (directory, kernel string, err error) {
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); err != nil {
		return "", "", &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	directory = fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		return directory, strings.TrimSpace(string(id)), nil
	}
	kernel, err = os.Hostname()
	return directory, kernel, err
}
