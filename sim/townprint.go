package sim

import (
	"fmt"
	"io"
	"os"
	"strings"

	"baedal/domain/order"
)

// townPrinter writes a line for each order as it ends.
type townPrinter struct {
	w      io.Writer
	colour bool
}

// colours reports whether w is a terminal whose user did not say no (no-color.org).
func colours(w io.Writer) bool { return os.Getenv("NO_COLOR") == "" && isTerminal(w) }

const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	plain  = "\x1b[0m"
)

func (p townPrinter) ended(o *townOrder, s *townStore) { fmt.Fprintln(p.w, p.line(o, s)) }

func (p townPrinter) line(o *townOrder, s *townStore) string {
	what, colour := string(o.Status), red
	switch o.Status {
	case order.Completed:
		what, colour = string(order.Delivered), green
	case order.Refunded, order.RefundDenied, order.Cancelled:
		colour = yellow
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s ", o.At.Time().Local().Format("15:04:05"))
	if p.colour {
		b.WriteString(colour)
	}
	fmt.Fprintf(&b, "%-15s", what)
	if p.colour {
		b.WriteString(plain)
	}
	fmt.Fprintf(&b, " %s  %s  %s → %s", o.OrderID, dishes(o, s), s.name, o.UserID)
	if o.RiderID != "" {
		b.WriteString("  rider " + o.RiderID)
	}
	if o.placedAt != 0 {
		fmt.Fprintf(&b, "  %.1f s", o.At.Sub(o.placedAt).Seconds())
	}
	if o.Status != order.Completed && o.Reason != "" {
		b.WriteString("  " + o.Reason)
		for i, short := range o.Short {
			fmt.Fprintf(&b, "%s%s: %d wanted, %d left", []string{" (", ", "}[min(i, 1)], s.dish(short.Product), short.Wanted, short.Available)
		}
		if len(o.Short) > 0 {
			b.WriteString(")")
		}
	}
	return b.String()
}

func dishes(o *townOrder, s *townStore) string {
	var names []string
	for _, l := range o.Lines {
		name := l.Name
		if name == "" { // not known to an order that was refused
			name = s.dish(l.Product)
		}
		names = append(names, fmt.Sprintf("%d× %s", l.Quantity, name))
	}
	return strings.Join(names, ", ")
}

func (s *townStore) dish(product string) string {
	for _, d := range s.menu {
		if d.id == product {
			return d.name
		}
	}
	return product
}
