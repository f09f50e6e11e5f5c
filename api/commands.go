package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/views"
)

// verb spells the type of a command as its path does.
func verb(kind string) string { return strings.ReplaceAll(kind, "_", "-") }

// contradicts says that a body names something else than its path does.
func contradicts(field, said, is string) error {
	if said == "" || said == is {
		return nil
	}
	return domain.Wrong(field, fmt.Sprintf("is %q and the path says %q: leave it out", domain.Clip(said), domain.Clip(is)))
}

// orderVerb is a command about an order.
func (s *server) orderVerb(kind string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r, "id")
		if err != nil {
			return err
		}
		c := &order.Command{}
		form, err := readBody(w, r, c)
		if err != nil {
			return err
		}
		other := domain.All(contradicts("type", c.Type, kind), contradicts("orderId", c.OrderID, id))
		var wrongID, wrongVersion error
		c.ID, wrongID = commandID(r, c.ID)
		c.IfVersion, wrongVersion = ifVersion(r, c.IfVersion)
		// The key says which order: the same command on the stream has no other words.
		c.Type, c.OrderID, c.Verdict = kind, "", true
		if err := together(other, whole(form, c), wrongID, wrongVersion); err != nil {
			return err
		}
		c = c.Own()
		command, err := newCommand(order.Stream, id, c.ID, c, func(ctx context.Context) error { return s.Commands.SendOrder(ctx, id, c) })
		if err != nil {
			return err
		}
		return s.decide(w, r, command, func(t *turn, out *views.Outcome) (bool, error) {
			o, ok, err := t.order(out)
			if err != nil || !ok {
				return false, err
			}
			if out.Verdict.Verdict == domain.Refused {
				return false, t.orderRefusal(out, o)
			}
			a, err := s.orderAnswer(o)
			if err != nil {
				return false, err
			}
			s.staleOrder(w, o)
			return true, writeThing(w, r, http.StatusOK, a)
		})
	}
}

// order returns the row that a verdict is about, once it shows that.
func (t *turn) order(out *views.Outcome) (*order.Order, bool, error) {
	o, ok, err := shown(t, t.Tables.Orders, t.key, func(o *order.Order) bool { return out.Version == 0 || o != nil && o.Version >= out.Version })
	return o, ok && (placed(o) || out.Verdict.Verdict == domain.Refused), err
}

// orderRefusal is the answer to a refused command about an order, which shows it.
func (t *turn) orderRefusal(out *views.Outcome, o *order.Order) error {
	return t.withOrder(t.refusal(out), o)
}

func (t *turn) withOrder(p *problem, o *order.Order) error {
	if !placed(o) {
		return p
	}
	a, err := t.orderAnswer(o)
	if err != nil {
		return err
	}
	p.Order = a
	return p
}

// changes are the commands that change what others would make.
var changes = map[string]string{stock.Register: stock.Update, stock.PutProduct: stock.UpdateProduct}

// storeCommand is a command of a store, or about one of its products.
func (s *server) storeCommand(kind string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r, "id")
		product := ""
		if slices.Contains(stock.ProductTypes, kind) {
			var wrongProduct error
			product, wrongProduct = pathID(r, "product")
			err = together(err, wrongProduct)
		}
		if err != nil {
			return err
		}
		c := &stock.Command{}
		form, err := readBody(w, r, c)
		if err != nil {
			return err
		}
		if r.Method != http.MethodPost {
			// The body of a PUT or PATCH is the thing itself: an id in it is the thing's.
			// Taken for the command's, it would make every later one a repeat of the first.
			c.ID = ""
		}
		other := domain.All(contradicts("type", c.Type, kind), contradicts("storeId", c.StoreID, id))
		if product != "" {
			other = domain.All(other, contradicts("product", c.Product, product))
		}
		var wrongID, wrongVersion error
		c.ID, wrongID = commandID(r, c.ID)
		c.IfVersion, wrongVersion = ifVersion(r, c.IfVersion)
		c.Type, c.StoreID, c.Product, c.Verdict = kind, "", product, true // the key says which store
		if err := together(other, whole(form, c), wrongID, wrongVersion); err != nil {
			return err
		}
		if change := changes[kind]; change != "" && ifThere(r) {
			c.Type = change // all that it has, where it is there
		}
		c = c.Own()
		command, err := newCommand(stock.Stream, id, c.ID, c, func(ctx context.Context) error { return s.Commands.SendStore(ctx, id, c) })
		if err != nil {
			return err
		}
		return s.decide(w, r, command, func(t *turn, out *views.Outcome) (bool, error) {
			row, ok, err := shown(t, s.Tables.Stock, id, func(row *stock.Inventory) bool { return out.Version == 0 || row != nil && row.Version >= out.Version })
			if err != nil || !ok {
				return false, err
			}
			if out.Verdict.Verdict == domain.Refused {
				p := t.refusal(out)
				if out.Code == domain.CodeShort && row != nil {
					if level, found := row.Level(product, domain.At(time.Now())); found {
						p.Short = []domain.Shortage{{Product: product, Wanted: c.Quantity, Available: level.Available}}
					}
				}
				return false, p
			}
			stale(w, s.Tables.Stock)
			if product == "" {
				a, err := s.storeAnswer(row)
				if err != nil || a == nil {
					return a == nil, cmp.Or(err, t.decided(out))
				}
				return true, writeThing(w, r, http.StatusOK, a)
			}
			a, err := s.productAnswer(row, product)
			if err != nil || a == nil {
				return a == nil, cmp.Or(err, t.decided(out))
			}
			return true, writeThing(w, r, http.StatusOK, a)
		})
	}
}

// decided answers an accepted command whose thing is not there any more.
func (t *turn) decided(out *views.Outcome) error {
	return writeJSON(t.w, http.StatusOK, answerTo(out))
}

// riderVerb is a command of a rider.
func (s *server) riderVerb(kind string) func(http.ResponseWriter, *http.Request) error {
	byDispatch := slices.Contains([]string{rider.Claim, rider.Decline, rider.PickedUp, rider.Delivered}, kind)
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := pathID(r, "id")
		if err != nil {
			return err
		}
		c := &rider.Command{}
		form, err := readBody(w, r, c)
		if err != nil {
			return err
		}
		other := domain.All(contradicts("type", c.Type, kind), contradicts("riderId", c.RiderID, id))
		var wrongID, wrongVersion error
		c.ID, wrongID = commandID(r, c.ID)
		c.IfVersion, wrongVersion = ifVersion(r, c.IfVersion)
		c.Type, c.RiderID, c.Verdict = kind, "", true // the key says which rider
		if err := together(other, whole(form, c), wrongID, wrongVersion); err != nil {
			return err
		}
		c = c.Own()
		left := "" // the area that an online or offline may end in
		if was, err := s.Tables.Riders.Get(id); err == nil && was != nil {
			left = was.Area
		}
		command, err := newCommand(rider.Stream, id, c.ID, c, func(ctx context.Context) error { return s.Commands.SendRider(ctx, id, c) })
		if err != nil {
			return err
		}
		return s.decide(w, r, command, func(t *turn, out *views.Outcome) (bool, error) {
			refused := out.Verdict.Verdict == domain.Refused
			row, ok, err := shown(t, s.Tables.Riders, id, func(row *rider.Rider) bool {
				switch {
				case !byDispatch: // the rider's own row has decided
					return out.Version == 0 || row != nil && row.Version >= out.Version
				case refused: // the area has, and it changed nothing
					return true
				}
				return row != nil && row.Shows(kind, c.OrderID)
			})
			if err != nil || !ok {
				return false, err
			}
			if refused {
				return false, t.refusal(out)
			}
			if ok, err := t.areaShows(out, c, row, left); err != nil || !ok {
				return false, err
			}
			stale(w, s.Tables.Riders, s.Tables.Areas)
			a, err := s.riderAnswer(row)
			if err != nil || a == nil {
				return a == nil, cmp.Or(err, t.decided(out))
			}
			return true, writeThing(w, r, http.StatusOK, a)
		})
	}
}

// areaShows waits for the areas where a rider's command had its effect, and reports
// whether they show that in time.
func (t *turn) areaShows(out *views.Outcome, c *rider.Command, row *rider.Rider, left string) (bool, error) {
	switch c.Type {
	case rider.Claim, rider.Decline, rider.PickedUp, rider.Delivered:
		// The area of the delivery has decided, and the rider may be elsewhere by now.
		o, err := t.Tables.Orders.Get(c.OrderID)
		if err != nil || o == nil || o.Store == nil {
			return err == nil, outOfTime(err)
		}
		_, ok, err := shown(t, t.Tables.Areas, o.Store.Area, func(a *dispatch.Area) bool { return a != nil && a.Version >= out.Version })
		return ok, err
	case rider.Online, rider.Offline:
		if row.Version != out.Version {
			return true, nil // more has happened since
		}
		if left != "" && left != row.Area {
			if _, ok, err := shown(t, t.Tables.Areas, left, func(a *dispatch.Area) bool { return a == nil || !a.Has(row.ID) }); err != nil || !ok {
				return false, err
			}
		}
		if row.On {
			_, ok, err := shown(t, t.Tables.Areas, row.Area, func(a *dispatch.Area) bool { return a != nil && a.Has(row.ID) })
			return ok, err
		}
	}
	return true, nil
}

// What became of a command.

// pending is the verdict on a command that is not known to be decided on.
const pending = "pending"

// commandAnswer says what became of a command.
type commandAnswer struct {
	ID         string        `json:"id"`
	Stream     string        `json:"stream,omitempty"` // left out where this instance does not know it
	Key        string        `json:"key,omitempty"`
	Verdict    string        `json:"verdict"`
	Code       string        `json:"code,omitempty"`
	Reason     string        `json:"reason,omitempty"`
	Version    int           `json:"version,omitzero"` // of the row that decided
	At         domain.Time   `json:"at,omitzero"`
	Detail     string        `json:"detail,omitempty"`
	DeadLetter *views.Letter `json:"deadLetter,omitempty"`

	forwarded bool // to an area, which says why it refuses
}

func answerTo(out *views.Outcome) commandAnswer {
	return commandAnswer{ID: out.CommandID, Stream: out.Stream, Key: out.Key, Verdict: out.Verdict.Verdict, Code: out.Code, Reason: out.Reason,
		Version: out.Version, At: out.At, DeadLetter: out.Letter}
}

// consumeWait is how long it is looked whether the groups have come to the end of
// their streams.
const consumeWait = 2 * time.Second

// getCommand says what became of a command: what the verdicts say, else what the
// row that decided remembers, else whether it became a dead letter. Where nothing
// is known of it, it was never sent, if the groups have decided on all that is in
// their streams, and may be pending otherwise.
func (s *server) getCommand(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if err := checkAnyCommandID(id); err != nil {
		return err
	}
	q := r.URL.Query()
	at := address{q.Get("stream"), q.Get("key")}
	var wrongStream, wrongKey error
	if q.Has("stream") && !slices.Contains(commandStreams, at.stream) {
		wrongStream = wrong("stream", "is not a stream of commands: one of "+strings.Join(commandStreams, ", "))
	}
	if q.Has("key") {
		wrongKey = parameter(domain.CheckID("key", at.key))
	}
	if err := together(wrongStream, wrongKey); err != nil {
		return err
	}
	began := time.Now()
	w.Header().Add("Vary", "Prefer")
	stale(w, s.Verdicts)
	a, err := s.became(id, at)
	if err != nil || a != nil && !a.forwarded {
		return s.tellCommand(w, r, a, err)
	}
	ctx, cancel := waitContext(r, min(preferenceOf(r.Header).wait, consumeWait))
	defer cancel()
	if s.allDecided(ctx, at.stream) {
		a, err = s.became(id, at) // decided meanwhile
		switch {
		case err != nil:
		case a != nil && a.forwarded && began.Sub(a.At.Time()) < views.KeepVerdicts:
			a.Verdict = domain.Accepted // a refusal would have been said
		case a == nil:
			return neverSent(id, at)
		}
	}
	if err == nil && a == nil {
		a = &commandAnswer{ID: id, Stream: at.stream, Key: at.key, Verdict: pending}
		if all := s.sent.to(id); len(all) == 1 {
			a.Stream, a.Key = all[0].stream, all[0].key
		}
	}
	return s.tellCommand(w, r, a, err)
}

// neverSent says what is not known. Without stream and key only commands that got a
// verdict, or that this instance has sent, are found.
func neverSent(id string, at address) error {
	if at.stream != "" && at.key != "" {
		return problemf(http.StatusNotFound, "no command %q was sent to %s under the key %q; after an hour what became of a command may be forgotten", id, at.stream, domain.Clip(at.key))
	}
	return problemf(http.StatusNotFound, "no verdict on a command %q is known: one that was written to a stream without asking for a verdict is found with stream and key alone, and after an hour what became of a command may be forgotten", id)
}

func (s *server) tellCommand(w http.ResponseWriter, r *http.Request, a *commandAnswer, err error) error {
	if err != nil {
		return err
	}
	return writeList(w, r, a)
}

var commandStreams = []string{order.Stream, stock.Stream, rider.Stream}

// checkAnyCommandID takes the ids of clients, and those that stand in for them:
// ORDERID/place and TOPIC/PARTITION/OFFSET.
func checkAnyCommandID(id string) error {
	if strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return wrong("id", "must not contain control characters")
	}
	return parameter(domain.CheckText("id", id, domain.MaxCommandID))
}

// became returns what is known to have become of a command, or nil.
func (s *server) became(id string, at address) (*commandAnswer, error) {
	all, err := s.outcomes(id, at)
	switch {
	case errors.Is(err, views.ErrNotReady):
		return nil, nil
	case err != nil:
		return nil, err
	}
	byAddress := map[address][]views.Outcome{}
	for _, out := range all {
		a := address{out.Stream, out.Key}
		byAddress[a] = append(byAddress[a], out)
	}
	if len(byAddress) == 0 {
		known := []address{at}
		if at.stream == "" || at.key == "" {
			known = s.sent.to(id)
		}
		for _, a := range known {
			if (at.stream == "" || a.stream == at.stream) && (at.key == "" || a.key == at.key) {
				byAddress[a] = nil
			}
		}
	}
	if len(byAddress) > 1 {
		var where []string
		for a := range byAddress {
			where = append(where, fmt.Sprintf("stream=%s key=%s", a.stream, a.key))
		}
		slices.Sort(where)
		p := problemf(http.StatusConflict, "several commands have the id %q: say which by stream and key: %s", id, strings.Join(where, ", "))
		p.name = "ambiguous-id"
		return nil, p
	}
	for a, outs := range byAddress {
		// A command that was refused because of another one's id is not what bears it.
		first := slices.IndexFunc(outs, func(o views.Outcome) bool { return o.Letter == nil && o.Code != domain.CodeReused })
		if first >= 0 {
			return new(answerTo(&outs[first])), nil
		}
		remembered, err := s.remembered(id, a)
		if err != nil || remembered != nil {
			return remembered, err
		}
		if len(outs) > 0 {
			newest := slices.MaxFunc(outs, func(a, b views.Outcome) int { return cmp.Compare(a.At, b.At) })
			return new(answerTo(&newest)), nil
		}
	}
	return nil, nil
}

func (s *server) outcomes(id string, at address) ([]views.Outcome, error) {
	if at.stream != "" && at.key != "" {
		return s.Verdicts.Find(id, at.stream, at.key)
	}
	all, err := s.Verdicts.Get(id)
	return slices.DeleteFunc(all, func(o views.Outcome) bool {
		return at.stream != "" && o.Stream != at.stream || at.key != "" && o.Key != at.key
	}), err
}

// remembered asks the row that decided on a command, whose sender may not have
// asked for a verdict.
func (s *server) remembered(id string, at address) (*commandAnswer, error) {
	a := &commandAnswer{ID: id, Stream: at.stream, Key: at.key}
	var found, open, forwarded bool
	var why domain.Refusal
	switch at.stream {
	case order.Stream:
		row, err := s.Tables.Orders.Get(at.key)
		if err != nil || row == nil {
			return nil, outOfTime(err)
		}
		why, a.Version, a.At, found = row.Decided(id)
	case stock.Stream:
		row, err := s.Tables.Stock.Get(at.key)
		if err != nil || row == nil {
			return nil, outOfTime(err)
		}
		why, a.Version, a.At, found = row.Decision(id)
	case rider.Stream:
		row, err := s.Tables.Riders.Get(at.key)
		if err != nil || row == nil {
			return nil, outOfTime(err)
		}
		why, a.Version, a.At, found, open = row.Decision(id)
		forwarded = row.Wish == nil || row.Wish.CommandID != id
	}
	switch {
	case !found:
		return nil, nil
	case open:
		a.Verdict, a.Version, a.forwarded = pending, 0, forwarded
	case why.Is():
		a.Verdict, a.Code, a.Reason = domain.Refused, why.Code, why.Reason
	default:
		a.Verdict = domain.Accepted
	}
	return a, nil
}

// allDecided reports whether all commands that are in a stream, or in all of them,
// are decided on, and the tables of this instance show it.
func (s *server) allDecided(ctx context.Context, stream string) bool {
	if s.Consumed == nil || s.Consumed(ctx, stream) != nil {
		return false
	}
	consumed := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		lag := max(s.Verdicts.Staleness(), s.Tables.Orders.Staleness(), s.Tables.Stock.Staleness(), s.Tables.Riders.Staleness())
		if !time.Now().Add(-lag).Before(consumed) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}
