package rider

import (
	"fmt"
	"slices"
	"strconv"

	"baedal/domain"
	"baedal/domain/dispatch"
)

// What a rider's row remembers. A command that comes again after as many others
// were decided is taken for a new one.
const (
	KeepRecent = 16 // decisions about commands
	KeepMoves  = 16 // location updates
	KeepOver   = 32 // deliveries that are no more in hand

	KeepInHand = 64 // deliveries: more than any area gives
)

// TellMetres is how far a rider moves before dispatch is told.
const TellMetres = 200

// Rider is the row of one rider.
//
// He is in Area from asking to enter it until it says `left`, so he is never in
// two. What he wants beyond that is Wish; the newest wish wins.
type Rider struct {
	ID    string        `json:"id"`
	Place *domain.Place `json:"place,omitempty"` // last known

	Area   string      `json:"area,omitempty"`
	On     bool        `json:"on,omitzero"`    // the area has said `entered`
	Shift  int         `json:"shift,omitzero"` // counts the enters that were sent
	Leave  int         `json:"leave,omitzero"` // counts the leaves that were sent in the shift
	Asked  bool        `json:"asked,omitzero"` // the last leave is not answered yet
	Wish   *Wish       `json:"wish,omitempty"`
	SentAt domain.Time `json:"sentAt,omitzero"` // of the last enter or leave

	// where dispatch was last told he is (nil: it believes something else), and by which move
	Told   *domain.Place `json:"told,omitempty"`
	ToldAt domain.Time   `json:"toldAt,omitzero"`
	ToldBy dispatch.Mark `json:"toldBy,omitempty"`

	Deliveries     []InHand        `json:"deliveries,omitempty"`
	DeliveredCount int             `json:"deliveredCount"`
	Over           []dispatch.Mark `json:"over,omitempty"` // deliveries delivered or lost, by InHand.mark

	Recent []Answer        `json:"recent,omitempty"`
	Moves  []dispatch.Mark `json:"moves,omitempty"`
}

// Wish is what an online or offline command asked for and what is not reached
// yet.
type Wish struct {
	Area      string        `json:"area,omitempty"`    // "" is offline
	Place     *domain.Place `json:"place,omitempty"`   // of online
	Capacity  int           `json:"capacity,omitzero"` // of online, 1 or more
	CommandID string        `json:"commandId"`
	Verdict   bool          `json:"verdict,omitzero"`
}

// InHand is a delivery that the rider has.
type InHand struct {
	OrderID string `json:"orderId"`
	Attempt int    `json:"attempt"`
}

func (d InHand) mark() dispatch.Mark {
	return dispatch.MarkOf(d.OrderID + "/" + strconv.Itoa(d.Attempt))
}

// Answer is what was decided about a command.
type Answer struct {
	Of   dispatch.Mark `json:"of"` // the command
	At   domain.Time   `json:"at"`
	Area string        `json:"area,omitempty"` // where it was forwarded to, to be decided there

	Reason string `json:"reason,omitempty"` // why it was refused here
	// When another message brought the decision, it brings the verdict again.
	By        dispatch.Mark `json:"by,omitempty"`
	CommandID string        `json:"commandId,omitempty"`
	Verdict   bool          `json:"verdict,omitzero"`
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
	by  dispatch.Mark // the message
	now domain.Time
	out Out
}

// Handle applies a valid command. The id names the message and is never empty.
// The same message again changes nothing, gets the same verdict, and sends
// again what still waits for an answer.
func (r *Rider) Handle(c *Command, id string, now domain.Time) Out {
	t := &turn{Rider: r, by: dispatch.MarkOf(id), now: now}
	if t.again(c, id) {
		return t.out
	}
	t.out.Changed = true
	switch c.Type {
	case Online:
		place := c.Place()
		t.Place = &place
		t.want(Wish{Area: c.Area, Place: &place, Capacity: c.capacity(), CommandID: id, Verdict: c.Verdict})
	case Offline:
		t.want(Wish{CommandID: id, Verdict: c.Verdict})
	case Move:
		t.move(c, id)
	default:
		t.forward(c, id)
	}
	return t.out
}

// again answers a command that was decided before.
func (t *turn) again(c *Command, id string) bool {
	if c.Type == Move {
		if !slices.Contains(t.Moves, t.by) {
			return false
		}
		if t.by == t.ToldBy && t.Area != "" {
			t.tell(id)
		}
		return true
	}
	known := false
	for _, a := range t.Recent {
		switch {
		case a.Of == t.by && a.Area != "":
			known = true
			t.send(c, id, a)
		case a.Of == t.by:
			known = true
			t.say(id, c.Verdict, a)
		case a.By == t.by:
			t.say(a.CommandID, a.Verdict, a)
		}
	}
	if t.Wish != nil && t.Wish.CommandID == id {
		known = true
		t.ask()
	}
	return known
}

// The shift.

// want replaces the wish. An older one that is not reached yet is refused: its
// sender would else wait for what does not come any more.
func (t *turn) want(w Wish) {
	if t.Wish != nil {
		t.settle("superseded by command " + strconv.Quote(w.CommandID))
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
		t.settle("")
	case t.Area == "" || w.Area == t.Area: // in the same area: a new place and capacity
		t.Area = w.Area
		t.Shift++
		t.Leave = 0
		t.SentAt = t.now
		t.Told, t.ToldAt, t.ToldBy = w.Place, t.now, ""
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
			Meta: domain.Meta{Type: dispatch.Enter, ID: fmt.Sprintf("%s/enter/%d", t.ID, t.Shift), At: t.SentAt},
			Area: t.Area, RiderID: t.ID, Shift: t.Shift, Place: domain.PointAt(*t.Wish.Place), Capacity: t.Wish.Capacity,
		})
	}
}

func (t *turn) leaveID() string { return fmt.Sprintf("%s/leave/%d/%d", t.ID, t.Shift, t.Leave) }

// settle ends the wish with a verdict.
func (t *turn) settle(reason string) {
	w := t.Wish
	t.Wish = nil
	a := Answer{Of: dispatch.MarkOf(w.CommandID), At: t.now, Reason: reason}
	if a.Of != t.by {
		a.By, a.CommandID, a.Verdict = t.by, w.CommandID, w.Verdict
	}
	t.remember(a)
	t.say(w.CommandID, w.Verdict, a)
}

// Places.

// move tells dispatch when the rider is far from where it believes him.
func (t *turn) move(c *Command, id string) {
	place := c.Place()
	t.Place = &place
	t.Moves = capped(append(t.Moves, t.by), KeepMoves)
	if t.Area == "" || t.Told != nil && dispatch.Metres(*t.Told, place) <= TellMetres {
		return
	}
	t.Told, t.ToldAt, t.ToldBy = t.Place, t.now, t.by
	t.tell(id)
}

func (t *turn) tell(id string) {
	t.out.Dispatch = append(t.out.Dispatch, dispatch.Command{
		Meta: domain.Meta{Type: dispatch.Move, ID: fmt.Sprintf("%s/move/%d/%s", t.ID, t.Shift, id), At: t.ToldAt},
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
func (t *turn) forward(c *Command, id string) {
	a := Answer{Of: t.by, At: t.now, Area: t.Area}
	if a.Area == "" {
		a.Reason = fmt.Sprintf("rider %q is not on shift: send online first", t.ID)
		t.remember(a)
		t.say(id, c.Verdict, a)
		return
	}
	t.remember(a)
	t.send(c, id, a)
}

func (t *turn) send(c *Command, id string, a Answer) {
	if toDispatch[c.Type] == "" {
		return // the id of a claim or the like, used again for something else: the first use is what it names
	}
	t.out.Dispatch = append(t.out.Dispatch, dispatch.Command{
		Meta: domain.Meta{Type: toDispatch[c.Type], ID: t.ID + "/" + id, At: a.At},
		Area: a.Area, RiderID: t.ID, OrderID: c.OrderID, CommandID: id, Verdict: c.Verdict,
	})
}

// Memory.

func (t *turn) remember(a Answer) { t.Recent = capped(append(t.Recent, a), KeepRecent) }

// say gives a verdict: a refusal always, an acceptance when it was asked for.
func (t *turn) say(commandID string, asked bool, a Answer) {
	if a.Reason != "" || asked {
		t.out.Verdicts = append(t.out.Verdicts, domain.NewVerdict(Stream, commandID, a.Reason, a.At))
	}
}

// capped forgets the oldest.
func capped[S ~[]E, E any](s S, n int) S { return slices.Delete(s, 0, max(0, len(s)-n)) }
