//go:build !planted

package planted

// Enabled is false in a normal build.
const Enabled = false

// On is false in a normal build.
func On(Bug) bool { return false }
