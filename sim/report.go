package sim

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
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
	WarmUp   float64 `json:"warmUpSeconds"`   // the latencies are of orders placed after it

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
	if r.WarmUp > 0 {
		t.row("warm-up", "%.1f s, whose orders are not in the next two lines", r.WarmUp)
	}
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

var quoted = regexp.MustCompile(`"[^"]*"`)

// withoutNames takes the ids out of a reason, so that reasons can be counted.
func withoutNames(reason string) string { return quoted.ReplaceAllString(reason, "…") }

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

// ReplayReport is what came out of a Replay. Minutes are simulated ones; Ms are the wall's.
type ReplayReport struct {
	Day         string  `json:"day"`
	Run         string  `json:"run"` // part of all its ids
	Speed       float64 `json:"speed"`
	Restaurants int     `json:"restaurants"`
	Couriers    int     `json:"couriers"`

	Orders        int            `json:"orders"`
	Placed        int            `json:"placed"` // fewer than Orders where the replay was stopped
	Delivered     int            `json:"delivered"`
	Undelivered   int            `json:"undelivered"`
	UndeliveredBy map[string]int `json:"undeliveredBy,omitempty"` // by last status, with the reason of a final one

	ClickToDoorMinutes   Percentiles `json:"clickToDoorMinutes"`   // placement to dropoff
	ReadyToPickupMinutes Percentiles `json:"readyToPickupMinutes"` // ready to pickup
	TargetMinutes        float64     `json:"targetMinutes"`        // of click-to-door
	MaximumMinutes       float64     `json:"maximumMinutes"`
	OverTarget           int         `json:"overTarget"` // delivered orders beyond it
	OverMaximum          int         `json:"overMaximum"`

	CourierHours         float64 `json:"courierHours"` // on shift
	OrdersPerCourierHour float64 `json:"ordersPerCourierHour"`
	Declined             int     `json:"declined"` // deliveries that came too late in a shift

	// The engine's own time, which is not scaled: what it costs of the simulated one. Assigning may wait for a rider, paying
	// waits for nothing.
	PlaceToPaidMs          Percentiles `json:"placeToPaidMs"`
	PlaceToPaidMinutes     float64     `json:"placeToPaidMinutes"` // the mean
	PlaceToAssignedMs      Percentiles `json:"placeToAssignedMs"`
	PlaceToAssignedMinutes float64     `json:"placeToAssignedMinutes"` // the mean
	LateMs                 Percentiles `json:"lateMs"`                 // how late the simulation itself did things
	WallSeconds            float64     `json:"wallSeconds"`

	RefusedCommands map[string]int `json:"refusedCommands,omitempty"` // by stream and reason
}

// OK reports whether every order was delivered.
func (r *ReplayReport) OK() bool { return r.Undelivered == 0 }

// WriteText writes the report for people.
func (r *ReplayReport) WriteText(w io.Writer) error {
	t := newTable(w)
	share := func(n int) float64 { return 100 * float64(n) / float64(max(r.Delivered, 1)) }
	t.row("day", "%s: %d orders, %d couriers, %d restaurants", r.Day, r.Orders, r.Couriers, r.Restaurants)
	t.row("delivered", "%d", r.Delivered)
	t.row("undelivered", "%d", r.Undelivered)
	for _, why := range slices.Sorted(maps.Keys(r.UndeliveredBy)) {
		t.row("  "+why, "%d", r.UndeliveredBy[why])
	}
	t.row("click-to-door", "mean %.1f min  p90 %.1f min  max %.1f min", r.ClickToDoorMinutes.Mean, r.ClickToDoorMinutes.P90, r.ClickToDoorMinutes.Max)
	t.row("ready-to-pickup", "mean %.1f min  p90 %.1f min  max %.1f min", r.ReadyToPickupMinutes.Mean, r.ReadyToPickupMinutes.P90, r.ReadyToPickupMinutes.Max)
	t.row(fmt.Sprintf("over %g min", r.TargetMinutes), "%d (%.1f %%)", r.OverTarget, share(r.OverTarget))
	t.row(fmt.Sprintf("over %g min", r.MaximumMinutes), "%d (%.1f %%)", r.OverMaximum, share(r.OverMaximum))
	t.row("orders per rider and hour", "%.2f", r.OrdersPerCourierHour)
	t.row("declined at a shift's end", "%d", r.Declined)
	t.row("engine: place → paid", "mean %.0f ms = %.2f simulated min  p99 %.0f ms", r.PlaceToPaidMs.Mean, r.PlaceToPaidMinutes, r.PlaceToPaidMs.P99)
	t.row("engine: place → assigned", "mean %.0f ms = %.2f simulated min  p99 %.0f ms", r.PlaceToAssignedMs.Mean, r.PlaceToAssignedMinutes, r.PlaceToAssignedMs.P99)
	t.row("simulation was late by", "mean %.1f ms  p99 %.1f ms", r.LateMs.Mean, r.LateMs.P99)
	t.row("wall time", "%.1f s at speed %g", r.WallSeconds, r.Speed)
	for _, reason := range slices.Sorted(maps.Keys(r.RefusedCommands)) {
		t.row("refused commands", "%d  %s", r.RefusedCommands[reason], reason)
	}
	return t.flush()
}
