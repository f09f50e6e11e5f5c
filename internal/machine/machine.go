// Package machine knows what a machine refuses, and what mends it.
package machine

import (
	"errors"
	"net"
	"strings"
	"syscall"
)

// refusals are errors that trying again does not heal.
var refusals = []struct {
	number syscall.Errno
	remedy string
}{
	{syscall.ENOSPC, "make room on the disk of the data directory"},
	{syscall.EDQUOT, "make room on the disk of the data directory, or raise the user's quota there"},
	{syscall.EROFS, "make the data directory writable"},
	{syscall.EACCES, "make the data directory writable for this user"},
	{syscall.EPERM, "make the data directory writable for this user"},
	{syscall.EIO, "the disk of the data directory fails: move the directory to another one"},
	{syscall.EFBIG, "raise the limit on the size of files (ulimit -f)"},
	{syscall.EMFILE, "raise the limit on open files (ulimit -n)"},
	{syscall.ENFILE, "raise the machine's limit on open files (fs.file-max)"},
}

// Remedy returns what mends err where the machine refused something, or "". Goka
// turns errors into text, so the text is looked at, too. What the network refuses
// is not meant, unless it is a file descriptor.
func Remedy(err error) string {
	if err == nil {
		return ""
	}
	network := errors.As(err, new(*net.OpError))
	for _, r := range refusals {
		files := r.number == syscall.EMFILE || r.number == syscall.ENFILE
		if (files || !network) && errors.Is(err, r.number) {
			return r.remedy
		}
	}
	for _, r := range refusals {
		plain := r.number == syscall.EACCES || r.number == syscall.EPERM || r.number == syscall.EIO // words that others use, too
		if !plain && strings.HasSuffix(err.Error(), r.number.Error()) {
			return r.remedy
		}
	}
	return ""
}

// Explain returns err with its remedy behind it, unless there is none or it is
// said already.
func Explain(err error) error {
	if r := Remedy(err); r != "" && !strings.Contains(err.Error(), r) {
		return &explained{err, r}
	}
	return err
}

type explained struct {
	err    error
	remedy string
}

func (e *explained) Error() string { return e.err.Error() + ": " + e.remedy }
func (e *explained) Unwrap() error { return e.err }
