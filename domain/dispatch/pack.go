package dispatch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"baedal/domain"
)

// Mark stands for the id of a message in a row: enough to know the message
// again among the few that are remembered (64 bits), in a quarter of the bytes.
type Mark string

// MarkOf returns the mark of what parts name together.
func MarkOf(parts ...string) Mark { return Mark(domain.Hash64(parts...)) }

// An area's row is written with every message about the area, so its many small
// parts are written as one string each, fields between slashes: ids contain
// none, and a reason, which may, comes last. Zero fields are empty, and left out
// at the end.

type packer struct {
	b       []byte
	started bool
	end     int // where the last field that is not zero ends
}

func pack(b []byte) *packer { return &packer{b: b, end: len(b)} }

func (p *packer) text(s string) {
	p.next()
	p.b = append(p.b, s...)
	if s != "" {
		p.end = len(p.b)
	}
}

func (p *packer) int(n int64) {
	p.next()
	if n != 0 {
		p.b = strconv.AppendInt(p.b, n, 10)
		p.end = len(p.b)
	}
}

func (p *packer) float(f float64) {
	p.next()
	if f != 0 {
		p.b = strconv.AppendFloat(p.b, f, 'g', -1, 64) // 1e-300 is short
		p.end = len(p.b)
	}
}

func (p *packer) next() {
	if p.started {
		p.b = append(p.b, '/')
	}
	p.started = true
}

func (p *packer) done() []byte { return p.b[:p.end] }

type unpacker struct {
	rest string
	err  error
}

func (u *unpacker) text() (s string) {
	s, u.rest, _ = strings.Cut(u.rest, "/")
	return s
}

// cut returns a field of n bytes, whatever is in it.
func (u *unpacker) cut(n int) (s string) {
	if n < 0 || n > len(u.rest) {
		u.fail(u.rest, errors.New("it ends too early"))
		return ""
	}
	s, u.rest = u.rest[:n], strings.TrimPrefix(u.rest[n:], "/")
	return s
}

func (u *unpacker) int() int64   { return u.number(10) }
func (u *unpacker) int36() int64 { return u.number(36) }

func (u *unpacker) number(base int) int64 {
	s := u.text()
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, base, 64)
	u.fail(s, err)
	return n
}

func (u *unpacker) time() domain.Time { return domain.Time(u.int()) }

func (u *unpacker) float() float64 {
	s := u.text()
	if s == "" {
		return 0
	}
	f, err := strconv.ParseFloat(s, 64)
	u.fail(s, err)
	return f
}

func (u *unpacker) fail(what string, err error) {
	if err != nil && u.err == nil {
		u.err = fmt.Errorf("the row of an area is damaged at %q: %w", what, err)
	}
}
