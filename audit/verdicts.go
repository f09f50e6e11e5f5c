package audit

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// commandKey names a command of a store or a rider.
type commandKey struct {
	stream stream
	key    string // of the record
	id     string
	says   uint64 // what: of one id and other words it is another command
}

func (k commandKey) hash() uint64 {
	return digest(strconv.Itoa(int(k.stream)), k.key, k.id, strconv.FormatUint(k.says, 36))
}

// command is a command of a customer, a store or a rider, and what became of it.
type command struct {
	id, key string
	says    uint64
	typ     string
	where           // of the first record
	touched int64   // time of the newest record about it
	records int     // with this id; 0: only its verdict has come
	others  []where // of further records
	asked   bool    // it wants a verdict on acceptance too
	verdict string  // accepted, refused; "": none
	said    where   // of the verdict
	sum     uint64  // of the verdict
	ruled   int64   // when it was decided, by the verdict
	version int     // of the verdict
	anew    bool    // refused, and then decided on anew when that was forgotten
	times   int     // the verdict has come
	traced  bool    // something else shows that it was decided on
	mark    string  // under which rows remember it
	store   *store  // of a command that changes what is on hand: where, of what, and by how much
	product *product
	amount  int64
}

// markOf is how rows of riders and areas write what names a message: 64 bits of
// FNV-1a in base64.
func markOf(parts ...string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join(parts, "\x00")))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// idOf returns a command's id, or where it was first written, which stands in for it.
func (a *auditor) idOf(r *record, id string) string {
	return cmp.Or(id, r.headers[headerOrigin], a.at(r.where))
}

// says returns what tells the words of a command from others. An id that the
// engine makes names no client's command, but for the place of an order that
// comes over HTTP.
func (m *clientCommand) says(r *record) (uint64, error) {
	if strings.Contains(m.ID, "/") && (m.Type != "place" || m.OrderID == "" || m.ID != m.OrderID+"/place") {
		return 0, fmt.Errorf("the id %q is not one that clients may choose", m.ID)
	}
	hash, err := saying(r.value)
	return digest(hash), err
}

// comes notes a record of a command.
func (c *command) comes(r *record, typ string, asked bool) (first bool) {
	c.touched = max(c.touched, r.at)
	c.asked = c.asked || asked
	if c.records++; c.records == 1 {
		c.where, c.typ = r.where, strings.Clone(typ)
		return true
	}
	c.others = append(c.others, r.where)
	return false
}

func (a *auditor) orderCommand(r *record) error {
	m, err := decodeCommand[clientCommand](r.value)
	if err != nil || r.key == "" {
		return orNoKey(err)
	}
	says, err := m.says(r)
	if err != nil {
		return err
	}
	a.life(r.key, r).command(a.idOf(r, m.ID), says).comes(r, m.Type, m.Verdict)
	return nil
}

func (l *life) command(id string, says uint64) *command {
	i := slices.IndexFunc(l.orderCommands, func(c *command) bool { return c.id == id && c.says == says })
	if i < 0 {
		l.orderCommands = append(l.orderCommands, &command{id: strings.Clone(id), key: l.key, says: says})
		i = len(l.orderCommands) - 1
	}
	return l.orderCommands[i]
}

// made reports whether the version that a command's verdict names is the last
// that the command has caused, as far as is known.
func (l *life) made(c *command) bool {
	its := func(version int) (yes, known bool) {
		i := version - l.base - 1
		if i < 0 || i >= len(l.events) || l.events[i].sum == 0 {
			return false, false
		}
		return l.events[i].cause == digest(c.id), true
	}
	last, known := its(c.version)
	more, _ := its(c.version + 1)
	return c.version > 0 && (last || !known) && !more
}

// rival returns another command under the id of this one that is not refused.
func (a *auditor) rival(l *life, c *command) *command {
	for _, o := range l.orderCommands {
		if o.id == c.id && o != c && o.records > 0 && o.verdict != "refused" && !a.buried(o) {
			return o
		}
	}
	return nil
}

func (a *auditor) command(s stream, key, id string, says uint64) *command {
	k := commandKey{s, key, id, says}
	c := a.commands[k]
	if c == nil {
		k.key, k.id = strings.Clone(key), strings.Clone(id)
		c = &command{id: k.id, key: k.key, says: says}
		a.commands[k] = c
	}
	return c
}

func (a *auditor) verdict(r *record) error {
	v, err := decode[verdictMessage](r.value)
	if err != nil {
		return err
	}
	if v.Key != r.key {
		a.violation(Verdicts, r.key, r.where, "the verdict on %q says that its key is %q", v.CommandID, v.Key)
	}
	says := digest(v.Digest)
	switch {
	case v.Verdict != "accepted" && v.Verdict != "refused":
		a.violation(Verdicts, r.key, r.where, "verdict %q on %q", v.Verdict, v.CommandID)
	case v.Verdict == "refused" && !slices.Contains(codes, v.Code):
		a.violation(Verdicts, r.key, r.where, "%q is refused with the code %q, which nobody knows", v.CommandID, v.Code)
	case v.Verdict == "accepted" && v.Code != "":
		a.violation(Verdicts, r.key, r.where, "%q is accepted with the code %q", v.CommandID, v.Code)
	}
	var c *command
	var refusals *[]refusal
	switch v.Stream {
	case a.short[orderCommands]:
		l := a.life(r.key, r)
		c, refusals = l.command(v.CommandID, says), &l.refusals
	case a.short[storeCommands], a.short[riderCommands]:
		s := storeCommands
		if v.Stream == a.short[riderCommands] {
			s = riderCommands
		}
		if k := (commandKey{s, r.key, v.CommandID, says}); a.commands[k] == nil {
			if old, ok := a.ruled[k.hash()]; ok {
				switch {
				case old.sum == uint32(digestBytes(r.value)):
				case old.refused && !remembered(*a.refusals(s, r.key), old.at, int64(v.At)):
					a.decidedAnew()
					a.ruled[k.hash()] = settled{uint32(digestBytes(r.value)), v.Verdict == "refused", int64(v.At)}
				default:
					a.violation(Verdicts, r.key, r.where, "a second, different verdict on %q: %s", v.CommandID, v.Verdict)
				}
				return nil
			}
		}
		c, refusals = a.command(s, r.key, v.CommandID, says), a.refusals(s, r.key)
	default:
		a.violation(Verdicts, r.key, r.where, "a verdict on stream %q", v.Stream)
		return nil
	}
	sum := digestBytes(r.value)
	c.touched = max(c.touched, r.at)
	c.times++
	switch {
	case c.sum == sum && c.verdict != "":
		return nil
	case c.verdict == "":
		if v.Verdict == "refused" {
			a.discount(c)
		}
	case c.verdict == "refused" && !remembered(*refusals, c.ruled, int64(v.At)):
		a.forgot(c)
		if v.Verdict == "accepted" && c.product != nil {
			a.count(c, 1)
		}
	default:
		a.violation(Verdicts, r.key, r.where, "a second, different verdict on %q: %s, and at offset %d %s", v.CommandID, v.Verdict, c.said.offset, c.verdict)
		return nil
	}
	if one := (refusal{int64(v.At), bytesOf(&v)}); v.Verdict == "refused" && v.Code != reused {
		if v.Stream != a.short[orderCommands] {
			*refusals = recent(*refusals, one.at)
		}
		*refusals = append(*refusals, one)
	}
	c.verdict, c.said, c.sum = known(v.Verdict), r.where, sum
	c.ruled, c.version = int64(v.At), v.Version
	return nil
}

// forgot notes once that a refused command was decided on anew.
func (a *auditor) forgot(c *command) {
	if !c.anew {
		c.anew = true
		a.decidedAnew()
	}
}

// owedForCommands judges the commands of an order: what was accepted has caused
// something, what was refused has not.
func (a *auditor) owedForCommands(l *life, f func(*debt)) {
	for _, c := range l.orderCommands {
		owe := func(check string, from where, format string, args ...any) {
			f(&debt{check: check, key: l.key, text: fmt.Sprintf("%s %q: ", c.typ, c.id) + fmt.Sprintf(format, args...), from: from, by: orders, home: l.home})
		}
		if c.records == 0 {
			if !l.reopened { // else the command may be forgotten
				a.unsent(c, owe)
			}
			continue
		}
		if a.buried(c) {
			continue
		}
		caused, rival := l.cause(c.id), a.rival(l, c)
		switch {
		case rival != nil && c.verdict != "refused" && rival.where.offset < c.where.offset && !l.reopened:
			owe(Verdicts, c.where, "its id names a %s, which came before, and it is not refused", rival.typ)
		case l.reopened || l.began: // what it caused may not be known any more
		case c.verdict == "refused" && caused != nil && rival == nil && !remembered(l.refusals, c.ruled, caused.at):
			a.forgot(c)
		case c.verdict == "refused" && caused != nil && rival == nil:
			owe(Verdicts, c.said, "it is refused, and caused version %d", l.base+indexOf(l.events, caused.where)+1)
		case c.verdict == "accepted" && caused == nil:
			owe(Verdicts, c.said, "it is accepted, and no event says that it caused anything")
		case c.verdict == "accepted" && !l.made(c):
			owe(Verdicts, c.said, "it is accepted, and its verdict names version %d, which is not the last that it made", c.version)
		case c.verdict == "" && caused == nil:
			owe(Inputs, c.where, "nothing became of it: no event, no verdict, no dead letter")
			continue
		}
		a.owedVerdict(c, owe)
	}
}

func (a *auditor) owedVerdict(c *command, owe func(string, where, string, ...any)) {
	switch {
	case c.asked && c.verdict == "":
		owe(Verdicts, c.where, "it asks for a verdict and has none")
	case !c.asked && c.verdict == "accepted":
		owe(Verdicts, c.said, "a verdict says that it is accepted, and nobody asked")
	case a.once && c.times > c.records:
		owe(Verdicts, c.said, "%d verdicts on %d commands", c.times, c.records)
	}
}

func (a *auditor) unsent(c *command, owe func(string, where, string, ...any)) {
	if !a.truncated[streamOf(a, c)] {
		owe(Verdicts, c.said, "a verdict on a command that nobody sent")
	}
}

func streamOf(a *auditor, c *command) stream {
	for _, s := range []stream{storeCommands, riderCommands} {
		if a.commands[commandKey{s, c.key, c.id, c.says}] == c {
			return s
		}
	}
	return orderCommands
}

// buried reports whether every record of a command is in the dead letters.
func (a *auditor) buried(c *command) bool {
	if len(a.dead) == 0 || !a.dead[c.where] {
		return false
	}
	for _, w := range c.others {
		if !a.dead[w] {
			return false
		}
	}
	return true
}

// owedFor judges a command of a store or a rider.
func (a *auditor) owedFor(c *command, f func(*debt)) {
	by := stock
	if c.stream == riderCommands || c.records == 0 && streamOf(a, c) == riderCommands {
		by = riders
	}
	owe := func(check string, from where, format string, args ...any) {
		f(&debt{check: check, key: c.key, text: fmt.Sprintf("%s %q: ", c.typ, c.id) + fmt.Sprintf(format, args...), from: from, by: by, home: -1})
	}
	switch {
	case c.records == 0:
		a.unsent(c, owe)
	case a.buried(c):
	case c.verdict == "" && !c.traced && !c.asked && by == stock && a.compacted[stockTable],
		c.verdict == "" && !c.traced && !c.asked && by == riders && a.compacted[ridersTable]:
	case c.verdict == "" && !c.traced:
		owe(Inputs, c.where, "nothing became of it: no verdict, nothing in the table, no dead letter")
	case c.verdict == "accepted" && !c.traced && by == stock && !a.compacted[stockTable]:
		owe(Verdicts, c.said, "it is accepted, and no row of the store knows of it")
	default:
		a.owedVerdict(c, owe)
	}
}
