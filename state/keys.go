package state

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A key in the database is space NUL topic NUL partition (4 bytes), then one
// byte for what follows. Rows have a kind of their own, so that every row key
// is allowed, also an empty one and goka's "__offset".
const (
	kindIndexMeta = 'm' // what is there of the indexes
	kindOffset    = 'o'
	kindRow       = 'r'
	kindIndex     = 'x' // keys of the indexes
)

// notePrefix stands before the names of notes. No table has an empty space.
const notePrefix = "\x00note\x00"

func tablePrefix(space, topic string, partition int32) (string, error) {
	if space == "" || topic == "" || strings.ContainsRune(space+topic, 0) || partition < 0 {
		return "", fmt.Errorf("table %q/%q/%d: a table needs a space and a topic without NUL bytes, and a partition from 0 on",
			space, topic, partition)
	}
	prefix := []byte(space + "\x00" + topic + "\x00")
	return string(binary.BigEndian.AppendUint32(prefix, uint32(partition))), nil
}

// after returns the smallest key that is greater than every key that begins
// with prefix. A prefix begins with text, so there always is one.
func after(prefix string) []byte {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
