//go:build chaos

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Env says where to die: POINT[@WHERE]:N[:ACTION], the N-th time that POINT is
// met in a group or table whose name contains WHERE. Actions: kill (the
// default), linger (this goroutine stands still for a moment while all others
// go on, then the process is killed: what must wait for this step shows whether
// it does) and stop (SIGSTOP: somebody else must send SIGCONT).
const Env = "BAEDAL_FAILPOINT"

const lingers = 150 * time.Millisecond

var (
	point  Point
	where  string
	action = "kill"
	left   atomic.Int64
)

func init() {
	spec := os.Getenv(Env)
	if spec == "" {
		return
	}
	parts := strings.Split(spec, ":")
	name, in, _ := strings.Cut(parts[0], "@")
	n := 1
	var err error
	if len(parts) > 1 {
		n, err = strconv.Atoi(parts[1])
	}
	if len(parts) > 2 {
		action = parts[2]
	}
	known := false
	for _, p := range Points {
		known = known || string(p.Point) == name
	}
	if err != nil || n < 1 || !known || action != "kill" && action != "linger" && action != "stop" {
		fmt.Fprintf(os.Stderr, "%s=%q: POINT[@WHERE]:N[:kill|linger|stop]\n", Env, spec)
		os.Exit(2)
	}
	point, where = Point(name), in
	left.Store(int64(n))
}

// Hit dies here when it was asked to.
func Hit(p Point, in string) {
	if p != point || !strings.Contains(in, where) || left.Add(-1) != 0 {
		return
	}
	fmt.Fprintf(os.Stderr, "failpoint: %s at %s in %s\n", action, p, in)
	switch action {
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		return
	case "linger":
		time.Sleep(lingers)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the kernel has done so
}
