package rider

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"baedal/domain"
	"baedal/domain/decided"
	"baedal/domain/dispatch"
)

// What a rider's row remembers of commands, in bytes: some 40 of them, which is
// an hour of a busy rider, and 16 location updates, which do no harm when they
// come again. The row is written with each command, so it is not more. Refusals
// are remembered beside them, for domain.RefusedFor and within
// domain.MaxRefusedBytes. What comes again beyond that is taken for a new command.
const (
	MaxAcceptedBytes = 2_500
	MaxMoveBytes     = 700

	KeepOver   = 32 // deliveries that are no more in hand
	KeepInHand = 64 // deliveries: more than any area gives
)

var remembers = decided.Bounds{Always: MaxAcceptedBytes, Refused: domain.MaxRefusedBytes}

// TellMetres is how far a rider moves before dispatch is told.
const TellMetres = 200

// Rider is the row of one rider.
//
// He is in Area from asking to enter it until it says `left`, so he is never in
// two. What he wants beyond that is Wish; the newest wish wins.
type Rider struct {
	ID       string        `json:"id"`
	Version  int           `json:"version,omitzero"` // counts the changes by commands and events; 0: nothing is known of the rider
	Name     string        `json:"name,omitempty"`
	Place    *domain.Place `json:"place,omitempty"`   // last known
	PlacedAt domain.Time   `json:"placedAt,omitzero"` // when the rider was there
	Until    domain.Time   `json:"until,omitzero"`    // end of the shift

	Area   string      `json:"area,omitempty"`
	On     bool        `json:"on,omitzero"`    // the area has said `entered`
	Shift  int         `json:"shift,omitzero"` // counts the enters that were sent
	Leave  int         `json:"leave,omitzero"` // counts the leaves that were sent in the shift
	Asked  bool        `json:"asked,omitzero"` // the last leave is not answered yet
	Wish   *Wish       `json:"wish,omitempty"`
	SentAt domain.Time `json:"sentAt,omitzero"` // of the last enter or leave

	// where dispatch was last told they are (nil: it believes something else), and by which move
	Told   *domain.Place `json:"told,omitempty"`
	ToldAt domain.Time   `json:"toldAt,omitzero"`
	ToldBy dispatch.Mark `json:"toldBy,omitempty"`

	Deliveries     []InHand        `json:"deliveries,omitempty"`
	DeliveredCount int             `json:"deliveredCount"`
	Over           []dispatch.Mark `json:"over,omitempty"` // deliveries delivered or lost, by InHand.mark

	Recent []Answer `json:"recent,omitempty"`
	Moves  []Moved  `json:"moves,omitempty"`
}

// Wish is what an online or offline command asked for and what is not reached
// yet.
type Wish struct {
	Area     string      `json:"area,omitempty"`    // "" is offline
	Capacity int         `json:"capacity,omitzero"` // of online, 1 or more
	Until    domain.Time `json:"until,omitzero"`    // of online
	// Place is where the rider was when enter was sent.
	Place    *domain.Place `json:"place,omitempty"`
	PlacedAt domain.Time   `json:"placedAt,omitzero"`
	Says     *Says         `json:"says,omitempty"` // of online, until enter is sent
	Asker
}

// Says is what an online says of the rider. It is so once the rider enters: where
// they must stay where they are, the command is refused and changes nothing.
type Says struct {
	Place domain.Place `json:"place"`
	At    domain.Time  `json:"at"`
	Name  *string      `json:"name,omitempty"`
}

// Asker is the command that waits for a verdict which another message brings.
type Asker struct {
	CommandID string `json:"commandId,omitempty"`
	Digest    string `json:"digest,omitempty"`
	Mark      string `json:"mark,omitempty"`
	Verdict   bool   `json:"verdict,omitzero"`
	// AskedAt is when it came: since then its id is taken.
	AskedAt domain.Time `json:"askedAt,omitzero"`
}

func asker(c *Command, n domain.Name, now domain.Time) Asker {
	return Asker{CommandID: n.ID, Digest: n.Digest, Mark: n.Mark, Verdict: c.Verdict, AskedAt: now}
}

func (a Asker) name() domain.Name {
	return domain.Name{ID: a.CommandID, Digest: a.Digest, Mark: a.Mark}
}

// InHand is a delivery that the rider has.
type InHand struct {
	OrderID string `json:"orderId"`
	Attempt int    `json:"attempt"`
}

func (d InHand) mark() dispatch.Mark {
	return dispatch.MarkOf(d.OrderID + "/" + strconv.Itoa(d.Attempt))
}

// NewRider returns the row of a rider whom nothing is known about: offline.
func NewRider(id string) *Rider { return &Rider{ID: id} }

// Out is what must be sent for a message, and whether the row changed. Commands
// go to the area they name.
type Out struct {
	Dispatch []dispatch.Command
	Verdicts []domain.Verdict
	Changed  bool
}

// turn is the handling of one message.
type turn struct {
	*Rider
	by      dispatch.Mark // the message
	now     domain.Time
	counted bool // Version counts it already
	out     Out
}

// Handle applies a valid command. The same again changes nothing, gets the same
// verdict, and sends again what still waits for an answer; another one under its
// id is refused, and leaves no trace.
func (r *Rider) Handle(c *Command, n domain.Name, now domain.Time) Out {
	t := &turn{Rider: r, by: commandMark(n), now: now}
	if t.again(c, n) || t.taken(n) {
		return t.out
	}
	if why := t.mayNot(c); why.Is() {
		t.refuse(n, why)
		return t.out
	}
	switch c.Type {
	case Online:
		t.change()
		t.want(Wish{Area: c.Area, Capacity: c.capacity(), Until: c.Until, Says: t.says(c), Asker: asker(c, n, now)})
	case Offline:
		t.change()
		t.want(Wish{Asker: asker(c, n, now)})
	case Move:
		t.move(c, n)
	default:
		t.forward(c, n)
	}
	return t.out
}

// change counts the message in Version, once.
func (t *turn) change() {
	if !t.counted {
		t.Version++
		t.counted, t.out.Changed = true, true
	}
}

// mayNot says what speaks against a command before its rules are asked.
func (t *turn) mayNot(c *Command) domain.Refusal {
	if why := domain.OtherVersion(fmt.Sprintf("rider %q", t.ID), c.IfVersion, t.Version); why.Is() {
		return why
	}
	if !t.Known() && c.Type != Online {
		return domain.Refuse(domain.CodeUnknown, "rider %q is not known: send online first", t.ID)
	}
	return domain.Refusal{}
}

// refuse says no, and remembers it. It changes nothing else.
func (t *turn) refuse(n domain.Name, why domain.Refusal) {
	t.remember(Answer{Of: dispatch.MarkOf(n.ID), Name: n.Mark, At: t.now, Version: t.Version, Refusal: why})
	t.say(n, true, why, t.Version, t.now)
}

// commandMark is the mark of a command among the messages that bring a decision.
func commandMark(n domain.Name) dispatch.Mark { return dispatch.MarkOf(Stream, n.ID, n.Mark) }

// eventMark is the mark of an event among them.
func eventMark(e *dispatch.RiderEvent) dispatch.Mark { return dispatch.MarkOf(e.Type, e.ID) }

// again answers a command that was decided before.
func (t *turn) again(c *Command, n domain.Name) bool {
	of := dispatch.MarkOf(n.ID)
	known := false
	for _, m := range t.Moves {
		if c.Type == Move && m.Of == of && m.Name == n.Mark {
			known = true
			t.say(n, c.Verdict, domain.Refusal{}, m.Version, m.At)
			if t.by == t.ToldBy && t.Area != "" {
				t.tell(n)
			}
		}
	}
	for _, a := range t.Recent {
		switch {
		case a.Of == of && a.Name == n.Mark && a.Area != "":
			known = true
			t.send(c, n, a)
		case a.Of == of && a.Name == n.Mark:
			known = true
			t.say(n, c.Verdict, a.Refusal, a.Version, a.At)
		case a.By == t.by:
			t.say(a.name(), a.Verdict, a.Refusal, a.Version, a.At)
		}
	}
	if t.Wish != nil && n.Is(t.Wish.CommandID, t.Wish.Mark) {
		known = true
		t.ask()
	}
	return known
}

// taken refuses a command whose id names another one that was decided before.
// What is said then is the same before that one was decided, and after: it names
// no version.
func (t *turn) taken(n domain.Name) bool {
	if !n.Own {
		return false
	}
	of := dispatch.MarkOf(n.ID)
	if w := t.Wish; w != nil && n.Taken(w.CommandID, w.Mark) {
		t.say(n, false, n.Refusal(), 0, w.AskedAt)
		return true
	}
	for _, a := range t.Recent {
		if a.Of == of {
			t.say(n, false, n.Refusal(), 0, cmp.Or(a.AskedAt, a.At))
			return true
		}
	}
	for _, m := range t.Moves {
		if m.Of == of {
			t.say(n, false, n.Refusal(), 0, m.At)
			return true
		}
	}
	return false
}

// The shift.

// want replaces the wish. An older one that is not reached yet is refused: its
// sender would else wait for what does not come any more.
func (t *turn) want(w Wish) {
	if t.Wish != nil {
		t.settle(domain.Refuse(domain.CodeRefused, "superseded by command %q", w.CommandID))
	}
	t.Wish = &w
	t.pursue()
}

// pursue takes the next step towards the wish.
func (t *turn) pursue() {
	switch w := t.Wish; {
	case w == nil:
	case t.Asked: // nothing else before the area has answered
		t.ask()
	case w.Area == t.Area && w.Area == "":
		t.settle(domain.Refusal{})
	case t.Area == "" || w.Area == t.Area: // in the same area: a new place and capacity
		if s := w.Says; s != nil {
			t.put(s.Place, s.At)
			if s.Name != nil {
				t.Name = *s.Name
			}
			w.Says = nil
		}
		t.Area = w.Area
		t.Shift++
		t.Leave = 0
		t.SentAt = t.now
		t.Until = w.Until
		w.Place, w.PlacedAt = t.Place, t.PlacedAt
		t.Told, t.ToldAt, t.ToldBy = t.Place, t.PlacedAt, ""
		t.ask()
	default:
		t.Leave++
		t.Asked = true
		t.SentAt = t.now
		t.ask()
	}
}

// ask sends what waits for an answer, the same again as often as it is called.
func (t *turn) ask() {
	switch {
	case t.Asked:
		t.out.Dispatch = append(t.out.Dispatch, dispatch.Command{
			Meta: domain.Meta{Type: dispatch.Leave, ID: t.leaveID(), At: t.SentAt},
			Area: t.Area, RiderID: t.ID, Shift: t.Shift,
		})
	case t.Wish != nil && t.Wish.Area == t.Area && t.Area != "":
		t.out.Dispatch = append(t.out.Dispatch, dispatch.Command{
			Meta: domain.Meta{Type: dispatch.Enter, ID: dispatch.EnterID(t.ID, t.Shift), At: t.SentAt},
			Area: t.Area, RiderID: t.ID, Shift: t.Shift, Place: domain.PointAt(*t.Wish.Place), PlaceAt: t.Wish.PlacedAt,
			Capacity: t.Wish.Capacity, Until: t.Wish.Until,
		})
	}
}

func (t *turn) leaveID() string { return dispatch.LeaveID(t.ID, t.Shift, t.Leave) }

// settle ends the wish with a verdict.
func (t *turn) settle(why domain.Refusal) {
	w := t.Wish
	t.Wish = nil
	a := Answer{Of: dispatch.MarkOf(w.CommandID), Name: w.Mark, At: t.now, Version: t.Version, Refusal: why}
	if commandMark(w.name()) != t.by {
		a.By, a.Asker = t.by, w.Asker
	}
	t.remember(a)
	t.say(w.name(), w.Verdict, a.Refusal, a.Version, a.At)
}

// Places.

// says returns what an online says of the rider.
func (t *turn) says(c *Command) *Says { return &Says{c.Place(), t.since(c), c.Name} }

// since is when a rider was where a command says: since `at`, which can't be later
// than now.
func (t *turn) since(c *Command) domain.Time {
	if c.At != 0 {
		return min(t.now, c.At)
	}
	return t.now
}

// put takes where the rider was at a time. A place never replaces one that is newer.
func (t *turn) put(place domain.Place, at domain.Time) (newer bool) {
	if t.Place != nil && at < t.PlacedAt {
		return false
	}
	t.Place, t.PlacedAt = &place, at
	return true
}

// move tells dispatch when the rider is far from where it believes them.
func (t *turn) move(c *Command, n domain.Name) {
	newer := t.put(c.Place(), t.since(c))
	if newer {
		t.change()
	}
	t.out.Changed = true
	t.Moves = append(t.Moves, Moved{dispatch.MarkOf(n.ID), n.Mark, t.now, t.Version})
	t.Moves = decided.Trim(t.Moves, t.now, decided.Bounds{Always: MaxMoveBytes}, (*Moved).weigh)
	t.say(n, c.Verdict, domain.Refusal{}, t.Version, t.now)
	if !newer || t.Area == "" || t.Told != nil && dispatch.Metres(*t.Told, *t.Place) <= TellMetres {
		return
	}
	t.Told, t.ToldAt, t.ToldBy = t.Place, t.PlacedAt, t.by
	t.tell(n)
}

func (t *turn) tell(n domain.Name) {
	t.out.Dispatch = append(t.out.Dispatch, dispatch.Command{
		Meta: domain.Meta{Type: dispatch.Move, ID: dispatch.MoveID(t.ID, t.Shift, n), At: t.ToldAt},
		Area: t.Area, RiderID: t.ID, Shift: t.Shift, Place: domain.PointAt(*t.Told),
	})
}

// Deliveries.

// toDispatch maps what a rider says of a delivery to what dispatch is asked.
var toDispatch = map[string]string{
	Claim: dispatch.Claim, Decline: dispatch.Decline, PickedUp: dispatch.PickedUp, Delivered: dispatch.Delivered,
}

// forward lets the area decide. It is remembered which, so that a repeat is
// answered by the same one.
func (t *turn) forward(c *Command, n domain.Name) {
	if t.Area == "" {
		t.refuse(n, domain.Refuse(domain.CodeStatus, "rider %q is not on shift: send online first", t.ID))
		return
	}
	a := Answer{Of: dispatch.MarkOf(n.ID), Name: n.Mark, At: t.now, Version: t.Version, Area: t.Area}
	t.remember(a)
	t.send(c, n, a)
}

// send forwards a command. It says no time, so that it is the same message also
// when it comes again that late that it is not remembered any more.
func (t *turn) send(c *Command, n domain.Name, a Answer) {
	kind := toDispatch[c.Type]
	t.out.Dispatch = append(t.out.Dispatch, dispatch.Command{
		Meta: domain.Meta{Type: kind, ID: dispatch.CommandID(t.ID, kind, n)},
		Area: a.Area, RiderID: t.ID, OrderID: c.OrderID, CommandID: n.ID, Digest: n.Digest, Mark: n.Mark, Verdict: c.Verdict,
	})
}

// Memory.

func (t *turn) remember(a Answer) {
	t.out.Changed = true
	t.Recent = decided.Trim(append(t.Recent, a), t.now, remembers, (*Answer).weigh)
}

// say gives a verdict: a refusal always, an acceptance when it was asked for.
func (t *turn) say(n domain.Name, asked bool, why domain.Refusal, version int, at domain.Time) {
	if why.Is() || asked {
		t.out.Verdicts = append(t.out.Verdicts, domain.NewVerdict(Stream, t.ID, n, why, version, at))
	}
}

// capped forgets the oldest.
func capped[S ~[]E, E any](s S, n int) S { return slices.Delete(s, 0, max(0, len(s)-n)) }
