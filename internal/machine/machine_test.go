package machine_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"baedal/internal/machine"
)

func TestRemedy(t *testing.T) {
	path := func(n syscall.Errno) error { return &fs.PathError{Op: "write", Path: "/data/state/000004.log", Err: n} }
	for want, errs := range map[string][]error{
		"make room on the disk": {path(syscall.ENOSPC), path(syscall.EDQUOT), fmt.Errorf("wrapped: %w", path(syscall.ENOSPC)), errors.New("as goka has it: no space left on device")},
		"writable":              {path(syscall.EROFS), path(syscall.EACCES), path(syscall.EPERM)},
		"the disk":              {path(syscall.EIO)},
		"ulimit -n":             {path(syscall.EMFILE), &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}},
		"ulimit -f":             {path(syscall.EFBIG)},
		"fs.file-max":           {path(syscall.ENFILE)},
	} {
		for _, err := range errs {
			require.Contains(t, machine.Remedy(err), want, err)
			require.ErrorIs(t, machine.Explain(err), err)
			require.Equal(t, machine.Explain(err).Error(), machine.Explain(machine.Explain(err)).Error(), "said once")
		}
	}
	for _, err := range []error{nil, errors.New("broken"), path(syscall.ENOENT), &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}} {
		require.Empty(t, machine.Remedy(err))
		require.Equal(t, err, machine.Explain(err))
	}
}
