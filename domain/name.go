package domain

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// Ids of messages are of two kinds that never meet. A client chooses the id of
// its command under the rules for ids of things, so it has no slash. An id that
// Baedal makes always has one: it joins what the message is about, such as
// ORDERID/reserve/ATTEMPT, so that the same message has the same id whenever it
// is sent, and its reader can check it. TOPIC/PARTITION/OFFSET stands in for
// the id that a client left out.

// CheckCommandID says what is wrong with the id of a client's command, which
// may be left out.
func CheckCommandID(id string) error {
	if id == "" {
		return nil
	}
	return CheckID("id", id)
}

// Part is a part of an id that the message itself does not carry.
type Part int

// Parts.
const (
	AnyNumber Part = iota // a count: 1 or more
	AnyWord               // one byte or more without a slash
	AnyRest               // whatever is left, one byte or more: the last part
)

// CheckName says what is wrong with the id of a message that Baedal makes: it
// is the parts joined by slashes. A part is a string, an int or a Part.
func CheckName(id string, parts ...any) error {
	rest, ok := id, id != ""
	for i, p := range parts {
		if i > 0 && ok {
			rest, ok = strings.CutPrefix(rest, "/")
		}
		if !ok {
			break
		}
		switch p := p.(type) {
		case string:
			rest, ok = strings.CutPrefix(rest, p)
			ok = ok && p != ""
		case int:
			rest, ok = strings.CutPrefix(rest, strconv.Itoa(p))
		case Part:
			end := strings.IndexByte(rest, '/')
			if end < 0 || p == AnyRest {
				end = len(rest)
			}
			ok = p.allows(rest[:end])
			rest = rest[end:]
		default:
			panic(fmt.Sprintf("a %T is no part of an id", p))
		}
	}
	switch {
	case ok && rest == "":
		return nil
	case id == "":
		return Wrong("id", "is missing: it is "+pattern(parts))
	}
	return Wrong("id", fmt.Sprintf("%q does not name what the message is about: that is %s", id, pattern(parts)))
}

func (p Part) allows(s string) bool {
	if p != AnyNumber {
		return s != ""
	}
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && strconv.Itoa(n) == s
}

func (p Part) String() string { return [...]string{"NUMBER", "WORD", "REST"}[p] }

func pattern(parts []any) string {
	all := make([]string, len(parts))
	for i, p := range parts {
		all[i] = fmt.Sprint(p)
	}
	return strings.Join(all, "/")
}

// Name is what a client's command is known again by: its id and what it says.
// The same id with other words is no repeat.
type Name struct {
	ID     string // the client's, or the record's coordinates where it gave none
	Own    bool   // whether the client gave it
	Digest string // SHA-256 in hex of what the command says; see Verdict
	Mark   string // for rows: the digest in short and, where coordinates stand in for the id, which topic they are of
}

// NameOf returns the name of a command. id is the client's, or empty; then the
// record's coordinates stand in for it, which are other things once the topic is
// made anew: the incarnation tells the topics of one name apart.
func NameOf(id, digest, coordinates, incarnation string) Name {
	n := Name{ID: id, Own: id != "", Digest: digest, Mark: Hash64(digest)}
	if !n.Own {
		n.ID, n.Mark = coordinates, Hash64(digest, incarnation)
	}
	return n
}

// Is reports whether a command that is remembered by its id and mark is this one.
func (n Name) Is(id, mark string) bool { return n.ID == id && n.Mark == mark }

// Taken reports whether a command that is remembered by its id and mark is
// another one, under the id that the client chose for this one, too.
func (n Name) Taken(id, mark string) bool { return n.Own && n.ID == id && n.Mark != mark }

// Refusal is why a command is refused whose id is Taken.
func (n Name) Refusal() Refusal {
	return Refuse(CodeReused, "the id %q names another command, which stays as it was decided: send this one under an id of its own", n.ID)
}

// Hash64 returns 64 bits of parts (FNV-1a) in base64: enough to know one of a few
// again.
func Hash64(parts ...string) string {
	h := fnv.New64a()
	for i, p := range parts {
		if i > 0 {
			_, _ = h.Write([]byte{0})
		}
		_, _ = h.Write([]byte(p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
