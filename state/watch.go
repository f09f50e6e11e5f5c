package state

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"baedal/internal/machine"
)

// watched is a file system that tells what the machine refuses (a full disk, a
// failing one, no more open files) where it happens. Pebble meets the same error
// in whatever goroutine it is at work, and panics in some of them: what ends the
// process must have said why before.
type watched struct {
	vfs.FS
	tell func(error)
}

func (w watched) Unwrap() vfs.FS { return w.FS }

// refused tells of err if no other try would fare better, and returns it.
func (w watched) refused(err error) error {
	if err != nil && !errors.Is(err, fs.ErrNotExist) && machine.Remedy(err) != "" {
		w.tell(fmt.Errorf("state database: %w", err))
	}
	return err
}

func (w watched) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, w.refused(err)
	}
	return watchedFile{f, w}, nil
}

func (w watched) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return w.file(w.FS.Create(name, c))
}

func (w watched) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := w.file(w.FS.Open(name))
	if err == nil {
		for _, o := range opts {
			o.Apply(f)
		}
	}
	return f, err
}

func (w watched) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return w.file(w.FS.OpenReadWrite(name, c, opts...))
}

func (w watched) OpenDir(name string) (vfs.File, error) { return w.file(w.FS.OpenDir(name)) }

func (w watched) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return w.file(w.FS.ReuseForWrite(from, to, c))
}

func (w watched) Rename(from, to string) error { return w.refused(w.FS.Rename(from, to)) }
func (w watched) Remove(name string) error     { return w.refused(w.FS.Remove(name)) }
func (w watched) MkdirAll(dir string, p fs.FileMode) error {
	return w.refused(w.FS.MkdirAll(dir, p))
}

type watchedFile struct {
	vfs.File
	fs watched
}

func (f watchedFile) Read(b []byte) (int, error) {
	n, err := f.File.Read(b)
	return n, f.fs.refused(err)
}

func (f watchedFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	return n, f.fs.refused(err)
}

func (f watchedFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	return n, f.fs.refused(err)
}

func (f watchedFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	return n, f.fs.refused(err)
}

func (f watchedFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.fs.refused(err)
}

func (f watchedFile) Sync() error     { return f.fs.refused(f.File.Sync()) }
func (f watchedFile) SyncData() error { return f.fs.refused(f.File.SyncData()) }
func (f watchedFile) Close() error    { return f.fs.refused(f.File.Close()) }
