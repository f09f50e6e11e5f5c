//go:build linux || darwin || freebsd

package broker

import "golang.org/x/sys/unix"

// free returns how many bytes this user may still write below dir.
func free(dir string) (bytes uint64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return uint64(max(s.Bavail, 0)) * uint64(s.Bsize), true
}
