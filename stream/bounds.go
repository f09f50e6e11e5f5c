package stream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lovoo/goka"
)

// Bounds of a record, in bytes. They hold both ways: a group sends nothing
// longer, and what comes in longer is a dead letter before anything else is done
// with it. So whatever a group makes of a record fits a topic: brokers take
// batches of 1,048,588 bytes by default, our producers make none above
// 1,000,000, and the longest dead letter is
//
//	MaxRecord + MaxKey + MaxHeaders + what it says itself (maxReason, maxStack, maxHead, coordinates)
//
// A record that never could be acknowledged would be handled again for ever.
const (
	MaxRecord  = 900_000 // of a value
	MaxKey     = 10_000
	MaxHeaders = 50_000 // names and values together, and headerCost for each
	headerCost = 10     // more than the lengths before a name and a value take

	maxReason = 4_000
	maxStack  = 16_000
	maxHead   = 1_000
	maxTrace  = 256 // of traceparent, which has 55
)

// MaxHops is how many messages may lead to one without a row changing. A story
// has some ten; groups that answer each other for ever have no end.
const MaxHops = 16

// ErrTooLong is what sending a longer record fails with.
var ErrTooLong = errors.New("too long for a record")

// tooLong returns an error for what exceeds a bound, or nil.
func tooLong(key string, value []byte) error {
	switch {
	case len(value) > MaxRecord:
		return fmt.Errorf("%w: the value is %d bytes long, at most %d", ErrTooLong, len(value), MaxRecord)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: the key is %d bytes long, at most %d", ErrTooLong, len(key), MaxKey)
	}
	return nil
}

// unfit returns why a record that came in can't be passed on whole, or nil. A
// reader that unpacked no more than the beginning of a value says so in a header.
func unfit(key string, headers goka.Headers, value []byte) error {
	if whole, cut := sizeOf(headers, value); cut {
		return fmt.Errorf("%w: the value is %d bytes long, at most %d", ErrTooLong, whole, MaxRecord)
	}
	size := 0
	for name, value := range headers {
		size += len(name) + len(value) + headerCost
	}
	if size > MaxHeaders {
		return fmt.Errorf("%w: the headers are %d bytes long, at most %d", ErrTooLong, size, MaxHeaders)
	}
	return tooLong(key, value)
}

// sizeOf returns how long a value is, and whether what is there is its beginning
// only.
func sizeOf(headers goka.Headers, value []byte) (size int64, cut bool) {
	said, cut := headers[HeaderSize]
	size = int64(len(value))
	if n, err := strconv.ParseInt(string(said), 10, 64); err == nil && n > size {
		size = n
	}
	return size, cut
}

// hops returns how many messages led to this one without a row changing.
func hops(headers goka.Headers) int {
	n, err := strconv.ParseUint(string(headers[HeaderHops]), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// endless ends what groups, or those who forward, do to each other for ever.
func endless(headers goka.Headers) error {
	if n := hops(headers); n >= MaxHops {
		return fmt.Errorf("%d messages led to this one without a row changing: groups answer each other for ever, and it ends here", n)
	}
	return nil
}

// cut returns s, or its beginning if it is longer than n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:n-len("…")]
	for len(s) > 0 {
		if r, size := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || size != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + "…"
}

// origin returns where a record was written first, if it was forwarded: a place
// on the topic on which it comes. Anything else in the header is a stranger's.
func origin(topic string, headers goka.Headers) (string, bool) {
	o := string(headers[HeaderOrigin])
	place, ok := strings.CutPrefix(o, topic+"/")
	partition, offset, ok2 := strings.Cut(place, "/")
	_, err := strconv.ParseUint(partition, 10, 31)
	_, err2 := strconv.ParseUint(offset, 10, 63)
	return o, ok && ok2 && err == nil && err2 == nil
}
