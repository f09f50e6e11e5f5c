//go:build planted

package planted

import "os"

// Enabled reports whether a bug may be on.
const Enabled = true

var on = Bug(os.Getenv("BAEDAL_PLANTED"))

// On reports whether a bug is on.
func On(b Bug) bool { return b == on }
