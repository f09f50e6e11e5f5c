package api

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"baedal/codecs"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/views"
)

// storeEvents streams the board of a store.
func (s *server) storeEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := streamOf(r)
	if err != nil {
		return err
	}
	row, err := await(r, s.Tables.Stock, id, func(row *stock.Inventory) bool { return row != nil && row.Store != nil })
	if err != nil {
		return err
	}
	if row == nil || row.Store == nil {
		return unknownStore(id)
	}
	stale(w, s.Tables.Orders)
	return s.live(w, r, "board", id, s.ordersBy("board", id, func(o *order.Order) any { return boardOf(o) }))
}

// userEvents streams what a user ordered and was told. Users are not registered:
// one who has not ordered has an empty stream.
func (s *server) userEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := streamOf(r)
	if err != nil {
		return err
	}
	stale(w, s.Tables.Orders, s.Tables.Messages)
	return s.live(w, r, "user", id, s.ordersBy("user", id, func(o *order.Order) any { return summaryOf(o) }), s.messagesTo(id))
}

// riderEvents streams a rider, with the deliveries they have, and what they are
// told.
func (s *server) riderEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := streamOf(r)
	if err != nil {
		return err
	}
	row, err := await(r, s.Tables.Riders, id, (*rider.Rider).Known)
	if err != nil {
		return err
	}
	if !row.Known() {
		return unknownRider(id)
	}
	stale(w, s.Tables.Riders, s.Tables.Orders, s.Tables.Messages)
	return s.live(w, r, "rider", id, &riderSource{s: s, id: id}, s.messagesTo(id))
}

// areaEvents streams the deliveries and riders of an area. Areas are not
// registered: one where nothing has happened yet has an empty stream.
func (s *server) areaEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := streamOf(r)
	if err != nil {
		return err
	}
	stale(w, s.Tables.Areas, s.Tables.Orders)
	area := s.areas.enter(id)
	defer s.areas.leave(area)
	return s.live(w, r, "area", id, &areaSource{s: s, area: area})
}

// orderEvents streams the timeline of an order: what has happened after
// Last-Event-ID, then what happens. The id of an event is its version. Where the
// rider is comes in between, without an id, while they have it. The stream ends
// after the last event of an order that is over; who comes again after that gets
// 204, which tells an EventSource to stop.
func (s *server) orderEvents(w http.ResponseWriter, r *http.Request) error {
	id, err := streamOf(r)
	if err != nil {
		return err
	}
	seen := 0
	if last, field := lastEventID(r); last != "" {
		if seen, err = strconv.Atoi(last); err != nil || seen < 0 {
			return wrong(field, "must be the version of an order, 0 or more")
		}
	}
	stale(w, s.Tables.Orders)
	o, err := await(r, s.Tables.Orders, id, placed)
	switch {
	case err != nil:
		return err
	case !placed(o):
		return unknownOrder(id)
	case over(o) && o.Version <= seen:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case r.Method == http.MethodHead:
		eventHeader(w)
		return nil
	}
	out := newEventWriter(w)
	t := &timeline{s: s, id: id, out: out, seen: seen}
	defer t.wake.stop()
	t.wake.add(s.Tables.Orders.WatchKey(id))
	_, err = t.more()
	return s.pump(r, "order", out, &t.wake, err, func(idle bool) (bool, error) {
		if idle {
			out.comment("nothing new")
		}
		return t.more()
	})
}

// over reports whether nothing will happen to an order. To a completed one a
// refund may.
func over(o *order.Order) bool { return o.Status.Final() && o.Status != order.Completed }

// timeline is the stream of one order.
type timeline struct {
	s    *server
	id   string
	out  *eventWriter
	wake wake
	seen int // version

	riderID string // whom it watches
	slot    int
	place   []byte // as last told
}

func (t *timeline) more() (isOver bool, err error) {
	o, err := t.s.Tables.Orders.Get(t.id)
	if err != nil {
		return false, err
	}
	if !placed(o) { // it was forgotten: nothing will come
		return true, nil
	}
	for i := range o.Timeline {
		e := &o.Timeline[i]
		if e.Version <= t.seen {
			continue
		}
		data, err := codecs.Marshal(e)
		if err != nil {
			return false, err
		}
		t.out.event(strconv.Itoa(e.Version), e.Type, data)
		t.seen = e.Version
	}
	return over(o), t.follow(o)
}

// follow tells where the rider is, when that has changed.
func (t *timeline) follow(o *order.Order) error {
	a, err := t.s.orderAnswer(o)
	if errors.Is(err, views.ErrNotReady) {
		return nil // the view of riders will be
	}
	if err != nil {
		return err
	}
	now := ""
	if a.Rider != nil {
		now = a.Rider.ID
	}
	if now != t.riderID {
		if t.riderID != "" {
			t.wake.remove(t.slot)
		}
		if t.riderID, t.place = now, nil; now != "" {
			t.slot = t.wake.add(t.s.Tables.Riders.WatchKey(now))
			return t.follow(o) // they may have moved before they were watched
		}
	}
	if a.Rider == nil || a.Rider.Lat == nil {
		return nil
	}
	data, err := codecs.Marshal(a.Rider)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, t.place) {
		t.place = data
		t.out.event("", riderEvent, data)
	}
	return nil
}

// riderSource is a rider by themself. A place in it is what was told.
type riderSource struct {
	s    *server
	id   string
	wake *wake
	area string // which is watched, while they have something in hand
	slot int
}

func (l *riderSource) watch(wake *wake) {
	l.wake = wake
	wake.add(l.s.Tables.Riders.WatchKey(l.id))
	wake.add(l.s.Tables.Orders.Watch("rider", l.id)) // their deliveries show it
}

func (l *riderSource) whole(tell tell) (string, error) { return l.since("", tell) }

func (l *riderSource) since(at string, tell tell) (string, error) {
	row, err := l.s.Tables.Riders.Get(l.id)
	if err != nil || !row.Known() { // it stays; the view is read anew
		return at, err
	}
	l.follow(row)
	a, err := l.s.riderAnswer(row)
	if err != nil {
		return at, err
	}
	data, err := codecs.Marshal(a)
	if err != nil {
		return at, err
	}
	for _, d := range a.Deliveries {
		l.wake.soon(d.partial())
	}
	next := hash(data)
	if next == at {
		return at, nil
	}
	return next, tell(riderEvent, data, next)
}

// follow watches the area as long as it says something about the rider.
func (l *riderSource) follow(row *rider.Rider) {
	area := ""
	if len(row.Deliveries) > 0 {
		area = row.Area
	}
	if area == l.area {
		return
	}
	if l.area != "" {
		l.wake.remove(l.slot)
	}
	if l.area = area; area != "" {
		l.slot = l.wake.add(l.s.Tables.Areas.WatchKey(area))
	}
}

// partial reports whether the order is not known here yet: it will be in a moment.
func (a *deliveryAnswer) partial() bool { return len(a.Lines) == 0 }

// areaSource is the deliveries and riders of an area. A place in it is the
// picture that was told.
type areaSource struct {
	s    *server
	area *area
	wake *wake
	last *picture
}

func (l *areaSource) watch(wake *wake) {
	l.wake = wake
	wake.add(l.s.Tables.Areas.WatchKey(l.area.id))
}

func (l *areaSource) whole(tell tell) (string, error) {
	now, err := l.area.now(l.s.areaItems)
	if err != nil {
		return "", err
	}
	for _, it := range now.items {
		if err := tell(it.event, it.data, ""); err != nil {
			return "", err
		}
	}
	l.last = now
	l.wake.soon(now.partial)
	return now.tag, nil
}

func (l *areaSource) since(at string, tell tell) (string, error) {
	now, err := l.area.now(l.s.areaItems)
	if err != nil {
		return at, err
	}
	if l.last == nil || l.last.tag != at {
		if l.last = l.area.told(at); l.last == nil {
			return at, views.ErrGap
		}
	}
	was := l.last
	l.last = now
	l.wake.soon(now.partial)
	return now.tag, now.differs(was, tell)
}

// areaItems returns what an area's stream tells of, and whether something of it
// will be known in a moment only.
func (s *server) areaItems(id string) (items []*item, partial bool, err error) {
	row, err := s.Tables.Areas.Get(id)
	if err != nil {
		return nil, false, err
	}
	if row == nil {
		row = dispatch.NewArea(id)
	}
	riders, err := s.areaRiderAnswers(row)
	if err != nil {
		return nil, false, err
	}
	open, assigned, err := s.areaDeliveryAnswers(row)
	if err != nil {
		return nil, false, err
	}
	for i := range riders {
		if items, err = addItem(items, riderEvent, riders[i].ID, &riders[i]); err != nil {
			return nil, false, err
		}
	}
	for _, list := range [][]deliveryAnswer{open, assigned} {
		for i := range list {
			partial = partial || list[i].partial()
			if items, err = addItem(items, deliveryEvent, list[i].OrderID, &list[i]); err != nil {
				return nil, false, err
			}
		}
	}
	return items, partial, nil
}

// streamOf returns what a stream is about.
func streamOf(r *http.Request) (string, error) {
	if err := acceptsEvents(r); err != nil {
		return "", err
	}
	return pathID(r, "id")
}

func (s *server) ordersBy(index, group string, answer func(*order.Order) any) source {
	return &list[order.Order]{
		view: s.Tables.Orders, index: index, group: group, event: orderEvent,
		id:      func(key string) string { return key },
		version: func(o *order.Order) int { return o.Version },
		answer:  answer,
	}
}

func (s *server) messagesTo(recipient string) source {
	return &list[notification.Notification]{
		view: s.Tables.Messages, index: "recipient", group: recipient, event: messageEvent,
		id:      func(key string) string { return key[strings.LastIndexByte(key, 0)+1:] }, // RECIPIENT NUL TIME NUL ID
		version: func(*notification.Notification) int { return 1 },                        // one never changes
		answer:  func(n *notification.Notification) any { return n },
	}
}

// await returns a row once it is as asked, or as it is when the client does not
// want to wait longer: an EventSource that is a little early is not sent away for
// good. A view that is not ready is waited for, too.
func await[R any](r *http.Request, table Table[R], key string, cond func(*R) bool) (*R, error) {
	var wake wake
	defer wake.stop()
	wake.add(table.WatchKey(key))
	late := time.Now().Add(preferenceOf(r.Header).wait)
	for {
		row, err := table.Get(key)
		if err != nil && !errors.Is(err, views.ErrNotReady) || err == nil && cond(row) || wake.pause(r, time.Until(late)) != woken {
			return row, err
		}
	}
}
