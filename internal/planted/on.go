//go:build planted

package planted

import "os"

var on = Bug(os.Getenv("BAEDAL_PLANTED"))

// On reports whether a bug is on.
func On(b Bug) bool { return b == on }
