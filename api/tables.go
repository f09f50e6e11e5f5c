package api

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/views"
)

// Table is what the API needs of a view; views.View has it, and says what each
// method promises.
type Table[R any] interface {
	Get(key string) (*R, error)
	Each(from string, fn func(key string, row *R) bool) error
	Wait(ctx context.Context, key string, cond func(*R) bool) (*R, error)
	WatchKey(key string) (woken <-chan struct{}, stop func())
	Lists[R]
}

// Lists are what a view keeps about its rows beside them.
type Lists[R any] interface {
	Scan(index, group string, after views.Entry, fn func(at views.Entry, key string, row *R) bool) error
	Groups(index, prefix string, fn func(group string) bool) error
	Cursor() views.Cursor
	Visible() views.Cursor
	Changes(index, group string, since views.Cursor) ([]views.Change[R], views.Cursor, error)
	Watch(index, group string) (woken <-chan struct{}, stop func())
	Staleness() time.Duration
}

// MessageLog is what people were told, by recipient: the index "recipient".
type MessageLog interface {
	Get(recipient string) (*notification.Log, error)
	Lists[notification.Notification]
}

// Tables are the tables that the API reads.
type Tables struct {
	Orders   Table[order.Order]
	Stock    Table[stock.Inventory]
	Riders   Table[rider.Rider]
	Areas    Table[dispatch.Area]
	Messages MessageLog
	Models   Table[projection.Model]
	// Progress says for /readyz how far the views have come.
	Progress func() []views.Progress
}

// Views returns the tables that a set of views shows.
func Views(s *views.Set) Tables {
	return Tables{
		Orders:   s.Orders,
		Stock:    s.Stock,
		Riders:   s.Riders,
		Areas:    s.Dispatch,
		Messages: s.Messages,
		Models:   s.Projections,
		Progress: s.Progress,
	}
}

const stalenessHeader = "Baedal-Staleness-Ms"

// stale says how far the tables that an answer is taken from may lag. It comes
// before the read, so that a change in between can only make the answer newer.
func stale(w http.ResponseWriter, tables ...interface{ Staleness() time.Duration }) {
	var most time.Duration
	for _, t := range tables {
		most = max(most, t.Staleness())
	}
	if most < math.MaxInt64 { // otherwise not ready, and the read will say so
		w.Header()[stalenessHeader] = milliseconds(most)
	}
}

// milliseconds returns a header's value. The usual ones are shared and never changed.
func milliseconds(d time.Duration) []string {
	if ms := d.Milliseconds(); ms < 0 || ms >= int64(len(shortTimes)) {
		return []string{strconv.FormatInt(ms, 10)}
	} else {
		return shortTimes[ms]
	}
}

var shortTimes = func() (all [128][]string) {
	for ms := range all {
		all[ms] = []string{strconv.Itoa(ms)}
	}
	return all
}()

// staleOrder says how far the tables may lag that an order's answer is taken from.
func (s *server) staleOrder(w http.ResponseWriter, o *order.Order) {
	stale(w, s.Tables.Orders)
	if carried(o) {
		also(w, s.Tables.Riders)
		also(w, s.Tables.Areas)
	}
}

// also says that an answer is taken from one more table, which may lag further.
func also(w http.ResponseWriter, t interface{ Staleness() time.Duration }) {
	was, err := strconv.ParseInt(w.Header().Get(stalenessHeader), 10, 64)
	if ms := t.Staleness().Milliseconds(); err == nil && ms > was {
		w.Header().Set(stalenessHeader, strconv.FormatInt(ms, 10))
	}
}
