package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"baedal/domain"
	"baedal/domain/notification"
	"baedal/domain/projection"
)

type messagePage struct {
	Messages []notification.Notification `json:"messages"`
	Cursor   string                      `json:"cursor,omitempty"`
}

// userOrders lists what a user ordered, newest first. Users are not registered:
// one who has not ordered has an empty list.
func (s *server) userOrders(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	n, err := limit(r)
	if err != nil {
		return err
	}
	from, err := cursor(r, "ref")
	if err != nil {
		return err
	}
	stale(w, s.Tables.Models, s.Tables.Orders)
	refs, err := s.refs(projection.UserKey(id))
	if err != nil {
		return err
	}
	refs, next, err := newestFirst(refs, "ref", from, n, refPlace)
	if err != nil {
		return err
	}
	page := orderPage{Orders: []orderSummary{}, Cursor: next}
	for _, ref := range refs {
		o, err := s.Tables.Orders.Get(ref.OrderID)
		if err != nil {
			return err
		}
		if placed(o) {
			page.Orders = append(page.Orders, summaryOf(o))
		}
	}
	return writeList(w, r, page)
}

// userMessages lists what a user, a store or a rider was told, newest first.
func (s *server) userMessages(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	n, err := limit(r)
	if err != nil {
		return err
	}
	from, err := cursor(r, "message")
	if err != nil {
		return err
	}
	stale(w, s.Tables.Messages)
	row, err := s.Tables.Messages.Get(id)
	if err != nil {
		return err
	}
	if row == nil {
		row = &notification.Log{}
	}
	told, next, err := newestFirst(row.Messages, "message", from, n, func(m notification.Notification) (domain.Time, string) { return m.At, m.ID })
	if err != nil {
		return err
	}
	return writeList(w, r, messagePage{told, next})
}

// refs returns the orders that a read model lists.
func (s *server) refs(key string) ([]projection.Ref, error) {
	row, err := s.Tables.Models.Get(key)
	if err != nil || row == nil {
		return nil, err
	}
	return row.Orders, nil
}

func refPlace(r projection.Ref) (domain.Time, string) { return r.At, r.OrderID }

// newestFirst returns a page of up to n entries, and the cursor of the next. An
// entry has its place by its time and id, so that new ones and forgotten ones
// move no page.
func newestFirst[E any](all []E, kind, from string, n int, place func(E) (domain.Time, string)) ([]E, string, error) {
	newer := func(a, b E) int {
		at, id := place(a)
		bt, bid := place(b)
		return cmp.Or(cmp.Compare(bt, at), cmp.Compare(bid, id))
	}
	all = slices.Clone(all)
	slices.SortFunc(all, newer)
	if from != "" {
		ms, last, _ := strings.Cut(from, "/")
		at, err := strconv.ParseInt(ms, 10, 64)
		if err != nil {
			return nil, "", wrong("cursor", "is not one that this list gave: begin without one")
		}
		i := slices.IndexFunc(all, func(e E) bool {
			t, id := place(e)
			return cmp.Or(cmp.Compare(domain.Time(at), t), cmp.Compare(last, id)) > 0
		})
		if i < 0 {
			i = len(all)
		}
		all = all[i:]
	}
	if len(all) <= n {
		return append([]E{}, all...), "", nil
	}
	at, id := place(all[n-1])
	return all[:n], encodeCursor(kind, fmt.Sprintf("%d/%s", int64(at), id)), nil
}
