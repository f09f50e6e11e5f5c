//go:build !chaos

package failpoint

// Hit does nothing in a normal build.
func Hit(Point, string) {}
