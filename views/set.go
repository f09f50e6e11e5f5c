package views

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lovoo/goka"
	"github.com/lovoo/goka/storage"

	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/topics"
)

// Options say where views read from and where they keep their copies. Those
// without a default must be given.
type Options struct {
	Brokers []string
	Catalog *topics.Catalog

	// Storage builds the local copy of one partition. It is called again for the
	// same partition after the storage before was closed.
	Storage storage.Builder
	// SaramaConsumer and TopicManager connect. They come from one place for the
	// whole program (stream), because goka's defaults are not safe. The manager
	// must answer OffsetNewest with the offset after the last record that can be
	// read, or a view of a table that was written in transactions never recovers.
	SaramaConsumer goka.SaramaConsumerBuilder
	TopicManager   goka.TopicManagerBuilder

	// Incarnation says which topic of that name there is now, and closes gone when
	// another one has come in its place: the view of it is then made anew. nil:
	// topics are taken to stay what they are.
	Incarnation func(topic string) (id string, gone <-chan struct{})

	// ProbeEvery is how often the newest offsets are asked for when nobody reads,
	// for Progress; readers ask more often, see View.Staleness. All views ask at the
	// same time, as one request where TopicManager makes one of them. Default 1s.
	ProbeEvery time.Duration
	// CacheBytes bounds what a view keeps of decoded rows, about. Default 16 MiB.
	CacheBytes int
	// Hurry, if not nil, has what is read come sooner until done is called. It is
	// called while somebody waits for a row or a verdict.
	Hurry func() (done func())
	// RetryMin and RetryMax bound the pause before a failed view or connection is
	// tried again. Default 200ms and 10s.
	RetryMin, RetryMax time.Duration
	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Hurry == nil {
		o.Hurry = func() func() { return func() {} }
	}
	if o.ProbeEvery <= 0 {
		o.ProbeEvery = time.Second
	}
	if o.CacheBytes <= 0 {
		o.CacheBytes = 16 << 20
	}
	if o.RetryMin <= 0 {
		o.RetryMin = 200 * time.Millisecond
	}
	if o.RetryMax < o.RetryMin {
		o.RetryMax = max(10*time.Second, o.RetryMin)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Storage == nil || o.SaramaConsumer == nil || o.TopicManager == nil {
		panic("views: Storage, SaramaConsumer and TopicManager must be given")
	}
	return o
}

// Progress says how far a view has come. Applied and Newest are sums over the
// partitions: records of the changelog that the view is past, and there are.
type Progress struct {
	View      string
	Table     string
	Recovered bool
	Applied   int64
	Newest    int64
	Staleness time.Duration
	Problem   string // what is wrong and what to do, or ""
}

// Set is all views that HTTP reads.
type Set struct {
	Orders      *View[order.Order]
	Stock       *View[stock.Inventory]
	Riders      *View[rider.Rider]
	Dispatch    *View[dispatch.Area]
	Messages    *Messages
	Projections *View[projection.Model]
	Verdicts    *Verdicts

	all []runner
}

type runner interface {
	Run(context.Context) error
	Recovered() bool
	Progress() Progress
}

// New returns the views of an installation, to be filled by Run. It panics when
// Options lack what they must have.
func New(opts Options) *Set {
	c := opts.Catalog
	s := &Set{
		Orders:      NewView(topics.Orders, c.OrdersTable, opts, OrderIndexes...),
		Stock:       NewView(topics.Stock, c.StockTable, opts, StoreIndexes...),
		Riders:      NewView(topics.Riders, c.RidersTable, opts, RiderIndexes...),
		Dispatch:    NewView(topics.Dispatch, c.DispatchTable, opts, AreaIndexes...),
		Messages:    NewMessages(topics.Messenger, c.MessageLog, opts),
		Projections: NewView(topics.Projections, c.ProjectionsTable, opts, FoodIndexes...),
		Verdicts:    NewVerdicts("verdicts", c, opts),
	}
	s.Orders.brief, s.Stock.brief, s.Riders.brief, s.Dispatch.brief, s.Projections.brief = briefOrder, briefInventory, briefRider, briefDispatch, briefModel
	s.all = append([]runner{s.Orders, s.Stock, s.Riders, s.Dispatch, s.Messages, s.Projections}, s.Verdicts.views()...)
	return s
}

// Standby returns views that nobody reads: copies of the tables of some groups,
// so that one that is taken over need not be read from the start. Groups whose
// tables New follows anyway are left out when served.
func Standby(opts Options, groups []string, served bool) *Set {
	c := opts.Catalog
	all := map[string]runner{topics.Payments: NewView(topics.Payments, c.PaymentsTable, opts)}
	if !served {
		all[topics.Orders] = NewView(topics.Orders, c.OrdersTable, opts)
		all[topics.Stock] = NewView(topics.Stock, c.StockTable, opts)
		all[topics.Riders] = NewView(topics.Riders, c.RidersTable, opts)
		all[topics.Dispatch] = NewView(topics.Dispatch, c.DispatchTable, opts)
		all[topics.Projections] = NewView(topics.Projections, c.ProjectionsTable, opts)
	}
	s := &Set{}
	for _, g := range groups {
		if v := all[g]; v != nil {
			s.all = append(s.all, v)
		}
	}
	return s
}

// Run keeps all views up to date until ctx is done, which is no error. It
// returns when all have closed their storages.
func (s *Set) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, v := range s.all {
		wg.Go(func() { _ = v.Run(ctx) }) // ends with ctx only
	}
	wg.Wait()
	return nil
}

// Recovered reports whether every view can be read.
func (s *Set) Recovered() bool {
	for _, v := range s.all {
		if !v.Recovered() {
			return false
		}
	}
	return true
}

// Progress says how far each view has come.
func (s *Set) Progress() []Progress {
	out := make([]Progress, len(s.all))
	for i, v := range s.all {
		out[i] = v.Progress()
	}
	return out
}

// gokaLogger passes on what goka says. It says much at start, and reports
// errors that it goes on to retry in the same way, so all of it is for debugging.
type gokaLogger struct{ log *slog.Logger }

func (l gokaLogger) Print(v ...any)                 { l.log.Debug(fmt.Sprint(v...)) }
func (l gokaLogger) Println(v ...any)               { l.log.Debug(fmt.Sprint(v...)) }
func (l gokaLogger) Printf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
