//go:build !linux

package broker

import "os"

// syncfs is missing here: kfake syncs every batch by itself.
var syncfs func(dir *os.File) error
