//go:build !(linux || darwin || freebsd)

package main

import (
	"os"
	"path/filepath"
)

// whichDirectory tells a directory from its copies by its path, and the machine
// from others by its name.
func whichDirectory(dir string) (directory, machine string, err error) {
	if directory, err = filepath.Abs(dir); err != nil {
		return "", "", err
	}
	machine, err = os.Hostname()
	return directory, machine, err
}
