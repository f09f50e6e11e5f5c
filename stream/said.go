package stream

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Speaker is a row that says numbered things, 1, 2, 3…, whose order is promised:
// none is heard for the first time after a later one.
//
// At least once, a kill between a row and its outputs leaves a row that has
// decided what nobody has heard. The message behind it is read again and says it;
// but where a group has several inputs, a message of another one may be read
// first, and say something newer. So the row notes which messages said what is
// not known to be acknowledged, and whoever meets a row of which such a message
// was not read again yet says it first: see Context.Unsaid. Exactly once none of
// that can be.
type Speaker interface {
	// Spoken returns the number of the last thing that was said, and the field of
	// the row in which the engine keeps its note.
	Spoken() (last int, note *string)
}

// voice is a message that said things which were not known to be acknowledged
// when the row was saved: the numbers from one on. Of an input the last message
// will do, as the ones before it are read before it.
type voice struct {
	topic  string
	offset int64
	from   int
}

func (v voice) String() string { return fmt.Sprintf("%s/%d/%d", v.topic, v.offset, v.from) }

// voices reads a note. What can't be read says that nothing is known.
func voices(note string) (all []voice) {
	for text := range strings.SplitSeq(note, " ") {
		if text == "" {
			continue
		}
		part := strings.Split(text, "/")
		if len(part) != 3 {
			return []voice{{from: 1}}
		}
		offset, err := strconv.ParseInt(part[1], 10, 64)
		from, err2 := strconv.Atoi(part[2])
		if cmp.Or(err, err2) != nil {
			return []voice{{from: 1}}
		}
		all = append(all, voice{part[0], offset, from})
	}
	return all
}

// fates knows what became of the messages of a partition.
type fates interface {
	// fate reports whether a message was read in this session, or need not be, and
	// whether all that it said is acknowledged.
	fate(topic string, partition int32, offset int64) (read, settled bool)
}

// unsaid returns the number from which on it is not known that a row has said
// what it says it has, or 0, before the message at an offset of a topic is
// handled. That message itself may have said more than it decided.
func unsaid(note string, partition int32, f fates, topic string, offset int64) (from int) {
	for _, v := range voices(note) {
		read := v.offset < offset
		if v.topic != topic {
			read, _ = f.fate(v.topic, partition, v.offset)
		}
		if !read && (from == 0 || v.from < from) {
			from = v.from
		}
	}
	return from
}

// noted returns the note of a row that is saved by a message which has said what
// there is from a number on; 0 is nothing.
func noted(note string, partition int32, f fates, topic string, offset int64, from int) string {
	var all []string
	for _, v := range voices(note) {
		switch read, settled := f.fate(v.topic, partition, v.offset); {
		case settled, !read: // what was unsaid was said again by this message
		case v.topic == topic && from > 0:
			from = min(from, v.from)
		default:
			all = append(all, v.String())
		}
	}
	if from > 0 {
		all = append(all, voice{topic, offset, from}.String())
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// hearing returns who knows what is acknowledged; nil where nothing can be
// unsaid.
func (c *Context[R]) hearing() fates {
	if s, ok := c.g.(*sessionContext); ok && c.h.cfg.Guarantee != ExactlyOnce {
		return s.s
	}
	return nil
}

// listen reads the note of the row that was loaded.
func (c *Context[R]) listen() {
	row, ok := any(c.row).(Speaker)
	if !ok || c.row == nil {
		return
	}
	last, note := row.Spoken()
	c.spoken = last
	if f := c.hearing(); f != nil {
		c.unsaid = unsaid(*note, c.Partition(), f, string(c.g.Topic()), c.Offset())
	}
}

// Unsaid returns the number from which on it is not known that the row, a
// Speaker, has said what it decided; 0 if all is known. A handler says that again
// before anything newer, and before it saves or deletes the row. A message that
// comes again and says a number again may leave it at those before.
func (c *Context[R]) Unsaid() int {
	c.Row()
	return c.unsaid
}

// note keeps in the row that is to be saved what this message says.
func (c *Context[R]) note() {
	row, ok := any(c.row).(Speaker)
	if !ok {
		return
	}
	last, note := row.Spoken()
	f := c.hearing()
	if f == nil {
		*note = ""
		return
	}
	from := c.unsaid
	if from == 0 && last > c.spoken {
		from = c.spoken + 1
	}
	*note = noted(*note, c.Partition(), f, string(c.g.Topic()), c.Offset(), from)
}
