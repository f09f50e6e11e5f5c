package domain

import (
	"slices"
	"time"
)

// A refused command changes nothing, and a repeat of it gets the same verdict:
// so its refusal is remembered in the row that decided. That is for an hour, and
// within a bound in bytes, as strangers may send refused commands without end.
// Beyond either the oldest is forgotten; its repeat is decided on like a new
// command, and may be accepted. An audit counts along by what verdicts say.
const (
	RefusedFor      = time.Hour // by the times at which the row decided
	MaxRefusedBytes = 30_000    // of what a row remembers, by RefusedBytes; the newest is kept whatever it takes
)

// refusedMore is more than what a remembered refusal takes in a row beside its
// id and its reason.
const refusedMore = 200

// RefusedBytes returns how many bytes the refusal of a command counts for in
// what a row remembers. It is more than it takes there, and can be told from the
// verdict alone.
func RefusedBytes(commandID, reason string) int {
	return refusedMore + Written(commandID) + Written(reason)
}

// Remember adds the newest refusal to those that a row remembers, oldest first,
// and forgets what need not be remembered any more. about returns when one was
// decided, and its RefusedBytes.
func Remember[R any](all []R, newest R, about func(*R) (at Time, bytes int)) []R {
	all = append(all, newest)
	now, bytes := about(&newest)
	from := len(all) - 1
	for ; from > 0; from-- {
		at, n := about(&all[from-1])
		if bytes += n; bytes > MaxRefusedBytes || now.Sub(at) > RefusedFor {
			break
		}
	}
	return slices.Delete(all, 0, from)
}
