package audit

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
)

// How long a row remembers a refused command, so that a repeat gets the same
// verdict: the promise, written down anew. Beyond either bound a repeat may be
// decided on like a new command.
const (
	rememberedFor   = int64(time.Hour / time.Millisecond)
	rememberedBytes = 30_000 // of refusals, from that one on
)

// codes are the kinds of refusals.
var codes = []string{"unknown", "version", "reused", "short", "status", "refused"}

// reused is the code of a refusal that is not remembered, as the command whose
// id it names is.
const reused = "reused"

// refusal is one that a row was told to remember.
type refusal struct {
	at    int64
	bytes int
}

// bytesOf returns how many bytes a refusal counts for.
func bytesOf(v *verdictMessage) int { return 200 + quoted(v.CommandID) + quoted(v.Reason) }

// quoted returns the length of a string in JSON.
func quoted(s string) int {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can be encoded
	return b.Len() - len("\n")
}

// remembered reports whether a row must still know a refusal when it decides on
// a repeat: neither an hour has passed nor were so many others refused since.
func remembered(all []refusal, since, until int64) bool {
	sum := 0
	for _, r := range all {
		if since <= r.at && r.at <= until {
			sum += r.bytes
		}
	}
	return until-since <= rememberedFor && sum <= rememberedBytes
}

// recent drops what is too old to be remembered.
func recent(all []refusal, now int64) []refusal {
	return slices.DeleteFunc(all, func(r refusal) bool { return now-r.at > rememberedFor })
}

// refusals returns what is kept of the refusals of the row that decides on a
// command. Of a rider's command it is not known whether the rider's row or that
// of an area decides, which many riders share: all of theirs are counted.
func (a *auditor) refusals(s stream, key string) *[]refusal {
	if s == riderCommands {
		key = ""
	}
	k := digest(a.short[s], key)
	if a.refused[k] == nil {
		a.refused[k] = new([]refusal)
	}
	return a.refused[k]
}

// forgets drops the refusals of rows that have none within the time.
func (a *auditor) forgets() {
	for k, all := range a.refused {
		if n := len(*all); n == 0 || a.clock-(*all)[n-1].at > rememberedFor {
			delete(a.refused, k)
		}
	}
}

// decidedAnew notes a repeat of a refused command that its row had forgotten.
func (a *auditor) decidedAnew() {
	a.rep.note("refused commands repeated when their row need not remember them any more, and decided on anew", 1)
}

// settled is what stays of a verdict on a command that is forgotten.
type settled struct {
	sum     uint32
	refused bool
	at      int64
}
