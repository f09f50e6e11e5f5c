//go:build !planted

package planted

// On is false in a normal build.
func On(Bug) bool { return false }
