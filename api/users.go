package api

import (
	"net/http"

	"baedal/domain/notification"
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
	return s.writeOrders(w, r, r.URL.Query(), orderFilter{user: id})
}

// userMessages lists what a user, a store or a rider was told, newest first.
func (s *server) userMessages(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "id")
	if err != nil {
		return err
	}
	p, err := pageOf(r, r.URL.Query(), "recipient")
	if err != nil {
		return err
	}
	stale(w, s.Tables.Messages)
	out := messagePage{Messages: []notification.Notification{}}
	out.Cursor, err = walk(r, s.Tables.Messages, "recipient", id, p, func(_ string, n *notification.Notification) (bool, error) {
		out.Messages = append(out.Messages, *n)
		return true, nil
	})
	if err != nil {
		return err
	}
	return writeList(w, r, out)
}
