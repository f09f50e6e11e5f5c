package views

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"baedal/domain"
)

// ErrGap means that the history of a view does not reach back to a cursor, or
// that the cursor is of another topic: read the whole state.
var ErrGap = errors.New("what changed since then is not known any more: read the whole state")

// Index sorts the rows of a view in another way. It is kept in the same batch
// as the rows, so it is never ahead of them nor behind.
type Index[R any] struct {
	// Name is what Scan and the others call it.
	Name string
	// Version must change when Of does: an index of another version is rebuilt.
	Version int
	// Feed keeps, by group, which rows changed at which offset, for Changes.
	Feed bool
	// Mark, if not nil, is what the feed goes by: a row whose mark and places are
	// what they were has not changed. It must not be 0.
	Mark func(row *R) uint64
	// Of returns the groups that a row is in, each at most once. It must depend on
	// nothing else, and leave the row as it is.
	Of func(key string, row *R) []Place
}

// Place is a group that a row is in, and where in it.
type Place struct{ Group, Sort string }

// Entry is a place in a group: what a page's cursor points to. The zero Entry
// is before all others.
type Entry struct{ Sort, Key string }

// Change is a row that changed since a cursor.
type Change[R any] struct {
	Key string
	Row *R     // nil: the row is gone
	In  bool   // the row is in the group still
	At  Cursor // of who knows this change and those before it, but none after it
}

// Newest is the Sort that puts what is newer first.
func Newest(t domain.Time) string { return descending(int64(t)) }

// Most is the Sort that puts what is more first.
func Most(n int) string { return descending(int64(n)) }

func descending(n int64) string {
	var raw [8]byte
	var text [16]byte
	binary.BigEndian.PutUint64(raw[:], ^(uint64(n) ^ 1<<63))
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

// Cursor says how far a reader has seen a view. Its text is opaque, safe in
// URLs and understood by any instance. The zero Cursor is before everything,
// and no history reaches back to it.
type Cursor struct {
	topic   uint64  // which topic of that name
	offsets []int64 // by partition, the last one seen, -1 for none
}

// IsZero reports whether it is the zero Cursor.
func (c Cursor) IsZero() bool { return len(c.offsets) == 0 }

// Equal reports whether both say the same.
func (c Cursor) Equal(d Cursor) bool { return c.topic == d.topic && slices.Equal(c.offsets, d.offsets) }

// Reaches reports whether all that d has seen was seen. Those of two topics never do.
func (c Cursor) Reaches(d Cursor) bool {
	if c.topic != d.topic || len(c.offsets) != len(d.offsets) {
		return false
	}
	for i, o := range d.offsets {
		if c.offsets[i] < o {
			return false
		}
	}
	return true
}

// String returns the cursor as text for ParseCursor.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	b := binary.BigEndian.AppendUint64(nil, c.topic)
	for _, o := range c.offsets {
		b = binary.AppendUvarint(b, uint64(o+1))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor returns the cursor that a text stands for.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	bad := fmt.Errorf("%q is no cursor of a list", text)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 9 {
		return Cursor{}, bad
	}
	c := Cursor{topic: binary.BigEndian.Uint64(b)}
	for b = b[8:]; len(b) > 0; {
		o, n := binary.Uvarint(b)
		if n <= 0 || o > 1<<62 {
			return Cursor{}, bad
		}
		c.offsets = append(c.offsets, int64(o)-1)
		b = b[n:]
	}
	return c, nil
}

func topicHash(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}
