package state_test

import (
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"baedal/state"
)

// What the machine refuses is told where it happens, from the first step of Open on
// and in any goroutine, before Pebble can panic because of it.
func TestDB_MachineRefuses(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.EFBIG} {
		for _, from := range []int64{1, 5, 20, 60, 150} { // operations on files; the later ones are while rows are written
			t.Run(fmt.Sprintf("%v from %d", number, from), func(t *testing.T) {
				var operations atomic.Int64
				broken := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
					if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && operations.Add(1) >= from {
						return &fs.PathError{Op: "write", Path: op.Path, Err: number}
					}
					return nil
				}))
				told := make(chan error, 1)
				var once sync.Once
				tell := func(err error) { // as the program, which ends: whoever met it does not go on
					once.Do(func() { told <- err })
					select {}
				}
				go func() {
					db, err := state.OpenWatched("state", broken, tell)
					if err != nil {
						told <- fmt.Errorf("Open returned instead: %w", err)
						return
					}
					table, err := db.Table("group", "orders-table", 0, state.Options{})
					for i := 0; err == nil && i < 2000; i++ {
						err = table.Set(fmt.Sprint(i), make([]byte, 8<<10))
						if err == nil {
							err = table.SetOffset(int64(i))
						}
						if err == nil {
							err = table.Flush()
						}
					}
					told <- fmt.Errorf("rows were written, or refused: %w", err)
				}()
				err := <-told
				require.ErrorIs(t, err, number)
				require.ErrorContains(t, err, "state database: write ")
			})
		}
	}
}
