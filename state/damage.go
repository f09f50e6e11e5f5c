package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"baedal/internal/machine"
)

// damageMark is a file in the database's directory that says that damage was
// met while it was in use. Open does not read the rows, so it would not notice,
// and background work would stumble over the same file for ever.
const damageMark = "DAMAGED"

var errMarked = errors.New("damage was met when it was last in use")

// IsCorrupt reports whether err means that the database's files are damaged.
// The remedy is Drop for the partition named in the error (or a restart, which
// rebuilds all of them), and the changelog brings the rows back.
func IsCorrupt(err error) bool {
	return err != nil && (pebble.IsCorruptionError(err) || errors.Is(err, errMarked))
}

func open(dir string, fs vfs.FS) (*DB, error) {
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	db, err := openIntact(dir, fs)
	if err == nil || !isDamage(err) {
		return db, err
	}
	reason := err.Error()
	aside := dir + ".damaged"
	if err := errors.Join(fs.RemoveAll(aside), fs.Rename(dir, aside), fs.MkdirAll(dir, 0o755)); err != nil {
		return nil, fmt.Errorf("%s; moving it aside failed, delete it by hand (its rows are in the changelogs): %w", reason, err)
	}
	db, err = openIntact(dir, fs)
	if err != nil {
		return nil, err
	}
	db.rebuilt = reason
	return db, nil
}

// damageError is a failure of Open whose remedy is a new database.
type damageError struct {
	dir string
	err error
}

func (e *damageError) Error() string {
	return fmt.Sprintf("state database %s is damaged: %v", e.dir, e.err)
}
func (e *damageError) Unwrap() error { return e.err }

func isDamage(err error) bool {
	var damage *damageError
	return errors.As(err, &damage)
}

func openIntact(dir string, fs vfs.FS) (_ *DB, err error) {
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("state directory %s cannot be written: %w", dir, err)
		}
		return nil, fmt.Errorf("state directory %s is in use: stop the process that has it open, or choose another directory: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	if _, err := fs.Stat(fs.PathJoin(dir, damageMark)); err == nil {
		return nil, &damageError{dir, errMarked}
	}
	if err := readManifest(dir, fs); err != nil {
		return nil, &damageError{dir, err}
	}
	db := &DB{dir: dir, fs: fs, lock: lock, tables: map[string]*Table{}}
	if db.pebble, err = openPebble(dir, db.options()); err != nil {
		return nil, err
	}
	return db, nil
}

// readManifest reads the list of the database's files to its end. Pebble takes
// what it can't read there for the end and goes on with an older list: without
// rows that had moved from the log into a file, but with newer ones that are in
// the log still.
func readManifest(dir string, fs vfs.FS) error {
	desc, err := pebble.Peek(dir, fs)
	if err != nil || !desc.Exists {
		return nil // nothing there, or Open says what is wrong
	}
	f, err := fs.Open(desc.ManifestFilename)
	if err != nil {
		return nil
	}
	defer f.Close()
	for r := record.NewReader(f, 0); ; {
		one, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			_, err = io.Copy(io.Discard, one)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", desc.ManifestFilename, err)
		}
	}
}

// openPebble tells damage from trouble with the machine (a full disk, missing
// rights, too many open files), which comes as an error number. A missing file
// of the database is damage.
func openPebble(dir string, opts *pebble.Options) (_ *pebble.DB, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = &damageError{dir, r}
			if machine.Remedy(r) != "" {
				err = fmt.Errorf("opening state database %s: %w", dir, r)
			}
		default:
			err = &damageError{dir, fmt.Errorf("%v", r)}
		}
	}()
	p, err := pebble.Open(dir, opts)
	if err == nil {
		return p, nil
	}
	var number syscall.Errno
	if errors.As(err, &number) && number != syscall.ENOENT && !pebble.IsCorruptionError(err) {
		return nil, fmt.Errorf("opening state database %s: %w", dir, err)
	}
	return nil, &damageError{dir, err}
}

// noteDamage remembers a sign of damage for Damaged and the next Open; other
// errors are none of its business.
func (db *DB) noteDamage(err error) {
	if !pebble.IsCorruptionError(err) || !db.damage.CompareAndSwap(nil, &err) {
		return
	}
	mark, failed := db.fs.Create(db.fs.PathJoin(db.dir, damageMark), vfs.WriteCategoryUnspecified)
	if failed == nil {
		_ = mark.Close() // without the mark, the next run meets the damage itself
	}
}
