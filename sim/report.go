package sim

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"baedal/domain/order"
)

// LoadReport is what came out of a Load. Times are measured at the client: from before a command is handed to the producer to
// when the event is read.
type LoadReport struct {
	Run      string  `json:"run"` // part of all its ids
	Stores   int     `json:"stores"`
	Areas    int     `json:"areas"`
	Riders   int     `json:"riders"`
	InFlight int     `json:"inFlight"`        // the bound; 0: none
	Rate     float64 `json:"ordersPerSecond"` // as asked for; 0: as fast as it goes

	Orders   int            `json:"orders"` // placed
	Final    int            `json:"final"`
	ByStatus map[string]int `json:"byStatus"` // of the final ones

	WallSeconds         float64     `json:"wallSeconds"` // from the first order to the last one's end
	LifecyclesPerSecond float64     `json:"lifecyclesPerSecond"`
	PlaceToAssignedMs   Percentiles `json:"placeToAssignedMs"`
	PlaceToDeliveredMs  Percentiles `json:"placeToDeliveredMs"`

	Unfinished         int               `json:"unfinished"`
	UnfinishedByStatus map[string]int    `json:"unfinishedByStatus,omitempty"`
	UnfinishedOrders   []UnfinishedOrder `json:"unfinishedOrders,omitempty"` // the first 20
	RefusedCommands    map[string]int    `json:"refusedCommands,omitempty"`  // by reason
}

// UnfinishedOrder is an order that did not reach a final status, with the last one seen.
type UnfinishedOrder struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}

// OK reports whether every order that was placed reached a final status.
func (r *LoadReport) OK() bool { return r.Orders > 0 && r.Unfinished == 0 }

// WriteText writes the report for people.
func (r *LoadReport) WriteText(w io.Writer) error {
	t := newTable(w)
	t.row("orders placed", "%d", r.Orders)
	for _, s := range byLife(r.ByStatus) {
		t.row("  "+s, "%d", r.ByStatus[s])
	}
	t.row("unfinished", "%d", r.Unfinished)
	for _, s := range byLife(r.UnfinishedByStatus) {
		t.row("  "+s, "%d", r.UnfinishedByStatus[s])
	}
	t.row("wall time", "%.1f s", r.WallSeconds)
	t.row("lifecycles", "%.1f /s", r.LifecyclesPerSecond)
	t.latency("place → assigned", r.PlaceToAssignedMs)
	t.latency("place → delivered", r.PlaceToDeliveredMs)
	for _, reason := range slices.Sorted(maps.Keys(r.RefusedCommands)) {
		t.row("refused commands", "%d  %s", r.RefusedCommands[reason], reason)
	}
	for _, o := range r.UnfinishedOrders {
		t.row("unfinished order", "%s  %s", o.ID, o.Status)
	}
	return t.flush()
}

// table writes aligned lines of a label and a value.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

func (t table) row(label, format string, args ...any) {
	fmt.Fprintf(t.w, "%s\t%s\n", label, fmt.Sprintf(format, args...)) // an error comes again at Flush
}

func (t table) latency(label string, p Percentiles) {
	if p.Count == 0 {
		t.row(label, "none")
		return
	}
	t.row(label, "p50 %.0f ms  p90 %.0f ms  p99 %.0f ms  max %.0f ms", p.P50, p.P90, p.P99, p.Max)
}

func (t table) flush() error { return t.w.Flush() }

// byLife lists the statuses in m in the order of a life, other words after them.
func byLife(m map[string]int) []string {
	rank := func(s string) int {
		if i := slices.Index(order.Statuses, order.Status(s)); i >= 0 {
			return i
		}
		return len(order.Statuses)
	}
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
	})
}
