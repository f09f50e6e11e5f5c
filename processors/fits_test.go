package processors_test

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/notification"
	"baedal/domain/order"
	"baedal/domain/payment"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
	"baedal/stream"
)

// The tests of this file fill rows with the longest fields that messages may
// have, of what takes most room in JSON, until nothing new is taken. The row, and
// whatever is sent, must fit a record then, and what ends things must be taken.

const fitsAt = domain.Time(1_767_355_200_000)

// worst returns a text of n bytes that is unique and full of quotes, which take
// two bytes in JSON, and four where a reason quotes them.
func worst(i, n int) string {
	s := fmt.Sprintf("%d", i)
	return s + strings.Repeat(`"`, n-len(s))
}

func worstID(i int) string   { return worst(i, domain.MaxID) }
func worstName(i int) string { return worst(i, domain.MaxName) }

// worstText is of what takes six bytes in JSON.
func worstText(n int) string { return strings.Repeat("\x01", n) }

// worstCall returns what the i-th command of clients is known by, under the
// longest id that they may give it.
func worstCall(i int) domain.Name { return domain.NameOf(worstID(i), worstDigest(i), "", "") }

func worstDigest(i int) string { return fmt.Sprintf("%0*x", domain.MaxDigest, i) }

// made joins an id as Baedal does.
func made(parts ...any) string {
	return strings.ReplaceAll(strings.TrimSpace(fmt.Sprintln(parts...)), " ", "/")
}

// worstSpot is the i-th of as many partitions as a topic may have.
func worstSpot(i int) projection.Spot {
	return projection.Spot{Topic: fmt.Sprintf("%022d", i/maxPartitions), Partition: int32(i % maxPartitions), Offset: math.MaxInt64}
}

const maxPartitions = 10_000

func worstPoint(i int) *domain.Point {
	return domain.PointAt(domain.Place{Lat: -1.2345678901234567e-7 - float64(i)*1e-12, Lon: -123.45678901234567})
}

// skipShort leaves out what takes some seconds more.
func skipShort(t *testing.T, more bool) {
	if more && testing.Short() {
		t.Skip("takes some seconds")
	}
}

// fits checks a row or a message.
func fits(t *testing.T, what any) int {
	t.Helper()
	if v, ok := what.(interface{ Validate() error }); ok {
		require.NoError(t, v.Validate(), "%T", what)
	}
	if v, ok := what.(interface{ CheckName() error }); ok {
		require.NoError(t, v.CheckName(), "%T", what)
	}
	data, err := codecs.Marshal(what)
	require.NoError(t, err)
	require.LessOrEqual(t, len(data), stream.MaxRecord, "%T", what)
	return len(data)
}

// within checks a part of a row that is bounded by what the domain counts for it.
func within(t *testing.T, part any, most int) {
	t.Helper()
	data, err := codecs.Marshal(part)
	require.NoError(t, err)
	require.LessOrEqual(t, len(data), most+len("[]"), "%T is counted too short", part)
}

func allFit[M any](t *testing.T, messages []M) {
	t.Helper()
	for i := range messages {
		fits(t, &messages[i])
	}
}

func worstLines(priced bool) (lines []domain.Line) {
	for i := range domain.MaxLines {
		l := domain.Line{Product: worstID(i), Quantity: domain.MaxLineQuantity}
		if priced {
			l.Name, l.Price = worstName(i), new(domain.MaxPrice)
		}
		lines = append(lines, l)
	}
	return lines
}

func worstShort() (short []domain.Shortage) {
	for i := range domain.MaxLines {
		short = append(short, domain.Shortage{Product: worstID(i), Wanted: domain.MaxLineQuantity, Available: domain.MaxQuantity})
	}
	return short
}

// worstLife is an order to which everything happens, at full length.
type worstLife struct {
	t   *testing.T
	o   *order.Order
	n   int
	now domain.Time
	max int
}

func (l *worstLife) told(out order.Out) order.Out {
	l.t.Helper()
	l.max = max(l.max, fits(l.t, l.o))
	allFit(l.t, out.Events)
	allFit(l.t, out.Stock)
	allFit(l.t, out.Payments)
	allFit(l.t, out.Dispatch)
	allFit(l.t, out.Verdicts)
	for _, e := range out.Events {
		for _, lang := range []notification.Language{notification.English, notification.Korean} {
			allFit(l.t, notification.Of(&e, lang))
		}
		m := &projection.Model{Key: e.OrderID, Counted: new(worstSpot(0))}
		notes, _ := m.Event(&e, worstSpot(1))
		allFit(l.t, notes)
		fits(l.t, m)
	}
	return out
}

func (l *worstLife) next() int {
	l.n++
	l.now = l.now.Add(time.Second)
	return l.n
}

func (l *worstLife) command(c order.Command) order.Out {
	l.t.Helper()
	n := worstCall(l.next())
	c.ID, c.Digest, c.Verdict = n.ID, n.Digest, true
	require.NoError(l.t, c.Validate())
	return l.told(l.o.Command(&c, n, l.now, order.DefaultSettings()))
}

func (l *worstLife) says(kind string) order.Out {
	l.t.Helper()
	return l.command(order.Command{Meta: domain.Meta{Type: kind}, Reason: worstText(domain.MaxReason), UserID: l.o.UserID,
		PhotoURL: "http://h/" + strings.Repeat("'", domain.MaxURL-9), Wish: order.WishRedelivery})
}

func (l *worstLife) postpones() {
	l.t.Helper()
	for range order.MaxPostponed {
		out := l.command(order.Command{Meta: domain.Meta{Type: order.Postpone}, By: "1s", Reason: worstText(domain.MaxReason)})
		require.Len(l.t, out.Events, 1)
	}
}

func (l *worstLife) refused() {
	l.t.Helper()
	for range 40 {
		v := l.command(order.Command{Meta: domain.Meta{Type: order.RequestRefund}, Reason: worstText(domain.MaxReason), UserID: worstID(99),
			PhotoURL: "http://h", Wish: order.WishRefund}).Verdicts
		require.Equal(l.t, domain.Refused, v[0].Verdict)
	}
	within(l.t, l.o.Recent, domain.MaxRefusedBytes)
}

func (l *worstLife) stock(kind string, attempt int) {
	l.t.Helper()
	r := &stock.Reply{Meta: domain.Meta{Type: kind, ID: made(l.o.ID, kind, attempt)}, OrderID: l.o.ID, StoreID: l.o.StoreID, Attempt: attempt}
	if kind == stock.Reserved {
		r.Lines, r.Total = worstLines(true), new(domain.MaxTotal)
		r.Store = &stock.Store{Name: worstName(1), Area: worstID(1), Lat: *worstPoint(1).Lat, Lon: *worstPoint(1).Lon, CookingTime: domain.MaxCookingTime - 1}
	} else {
		r.Reason, r.Short = stock.Short, worstShort()
	}
	fits(l.t, r)
	l.told(l.o.StockReply(r, l.now, order.DefaultSettings()))
}

func (l *worstLife) money(kind string) {
	l.t.Helper()
	id := made(l.o.ID, kind, 1)
	if kind == payment.Delayed {
		id = made(id, l.next())
	}
	r := &payment.Reply{Meta: domain.Meta{Type: kind, ID: id}, OrderID: l.o.ID, Attempt: 1, Reason: worstText(domain.MaxWhy)}
	fits(l.t, r)
	l.told(l.o.PaymentReply(r, l.now, order.DefaultSettings()))
}

func (l *worstLife) delivery(kind, rider string) {
	l.t.Helper()
	id := made(l.o.ID, kind, l.o.Attempt)
	if kind == dispatch.Assigned || kind == dispatch.Unassigned {
		id = made(id, l.next())
	}
	e := &dispatch.DeliveryEvent{Meta: domain.Meta{Type: kind, ID: id}, OrderID: l.o.ID, Attempt: l.o.Attempt,
		Area: worstID(1), RiderID: rider}
	if kind == dispatch.Unassigned {
		e.Reason = dispatch.Withdrawn
	}
	fits(l.t, e)
	l.told(l.o.Delivery(e, l.now, order.DefaultSettings()))
}

func (l *worstLife) waits(n int) {
	l.t.Helper()
	for range n {
		d, ok := l.o.NextDeadline()
		require.True(l.t, ok)
		fits(l.t, &d)
		l.now = max(l.now, d.Due)
		l.told(l.o.Due(&d, l.now, order.DefaultSettings()))
	}
}

func (l *worstLife) riders(n int) {
	l.t.Helper()
	for i := range n {
		l.delivery(dispatch.Assigned, worstID(i))
		l.delivery(dispatch.Unassigned, worstID(i))
	}
}

func newWorstLife(t *testing.T) *worstLife {
	l := &worstLife{t: t, o: order.New(worstID(0)), now: fitsAt}
	// The engine's note: a voice on each input, of a topic of the longest name.
	for i := range 5 {
		l.o.Unheard += fmt.Sprintf("%0249d/%d/%d ", i, math.MaxInt64, domain.MaxCount)
	}
	l.command(order.Command{Meta: domain.Meta{Type: order.Place}, UserID: worstID(0), StoreID: worstID(0), Lines: worstLines(false),
		Address: &order.Address{Text: worstText(domain.MaxText), Lat: worstPoint(0).Lat, Lon: worstPoint(0).Lon}, ExpectedTotal: new(domain.MaxTotal),
		Note: worstText(domain.MaxText), Phone: strings.Repeat(`"`, domain.MaxPhone)})
	require.Equal(t, order.Placed, l.o.Status)
	l.refused()
	return l
}

func TestFits_Order(t *testing.T) {
	ends := map[string]func(*worstLife) order.Status{
		"Refused": func(l *worstLife) order.Status {
			l.stock(stock.Refused, 2)
			return order.Refunded
		},
		"Delivered": func(l *worstLife) order.Status {
			l.stock(stock.Reserved, 2)
			l.postpones()
			l.riders(40)
			l.says(order.StartCooking)
			l.says(order.FinishCooking)
			l.delivery(dispatch.Assigned, worstID(1))
			l.delivery(dispatch.PickedUp, worstID(1))
			l.waits(120)
			l.delivery(dispatch.Delivered, worstID(1))
			l.says(order.Confirm)
			return order.Completed
		},
		"AreaFull": func(l *worstLife) order.Status {
			e := &dispatch.DeliveryEvent{Meta: domain.Meta{Type: dispatch.Failed, ID: made(l.o.ID, dispatch.Failed, 2)}, OrderID: l.o.ID, Attempt: 2, Area: worstID(1), Reason: dispatch.AreaFull}
			l.told(l.o.Delivery(e, l.now, order.DefaultSettings()))
			return order.Refunded
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			skipShort(t, name != "Delivered")
			l := newWorstLife(t)
			l.stock(stock.Reserved, 1)
			for range 60 {
				l.money(payment.Delayed)
			}
			l.money(payment.Approved)
			l.says(order.Accept)
			l.postpones()
			l.riders(40)
			l.says(order.StartCooking)
			l.riders(40)
			l.says(order.FinishCooking)
			l.riders(40)
			l.delivery(dispatch.Assigned, worstID(1))
			l.delivery(dispatch.PickedUp, worstID(1))
			l.waits(120)
			l.delivery(dispatch.Delivered, worstID(1))
			l.refused()
			l.says(order.RequestRefund)
			require.Equal(t, order.RefundRequested, l.o.Status)
			l.says(order.ApproveRefund)
			require.Equal(t, 2, l.o.Attempt)
			l.refused()
			require.Equal(t, end(l), l.o.Status)
			require.LessOrEqual(t, len(l.o.Timeline), order.MaxTimeline)
			require.LessOrEqual(t, len(l.o.Commands), order.MaxTimeline)
			t.Logf("at most %d bytes", l.max)
		})
	}
	t.Run("Short", func(t *testing.T) {
		l := newWorstLife(t)
		l.stock(stock.Refused, 1)
		require.Equal(t, order.RefusedStatus, l.o.Status)
	})
	t.Run("Cancelled", func(t *testing.T) {
		l := newWorstLife(t)
		l.stock(stock.Reserved, 1)
		l.command(order.Command{Meta: domain.Meta{Type: order.Cancel}, By: order.Operator, Reason: worstText(domain.MaxReason)})
		require.Equal(t, order.Cancelled, l.o.Status)
	})
}

func TestFits_Payment(t *testing.T) {
	p := payment.New(worstID(0))
	cfg := payment.DefaultSettings()
	now, most := fitsAt, 0
	told := func(out payment.Out) {
		t.Helper()
		allFit(t, out.Replies)
		most = max(most, fits(t, p))
	}
	request := func(kind string, attempt int) {
		t.Helper()
		r := payment.Request{Meta: domain.Meta{Type: kind, ID: made(p.OrderID, kind, attempt)}, OrderID: p.OrderID, Attempt: attempt,
			UserID: worstID(0), Amount: new(domain.MaxTotal), Reason: worstText(domain.MaxReply)}
		fits(t, &r)
		told(p.Handle(&r, now, cfg))
	}
	answers := func(answer string, n int) {
		t.Helper()
		for range n {
			at, call, ok := p.Next()
			if !ok {
				return
			}
			now = max(now, at)
			r := payment.NewResult(call, answer, worstText(100_000), now)
			fits(t, &r)
			told(p.HandleResult(&r, now, cfg))
		}
	}
	for attempt := 1; attempt <= domain.MaxAttempts; attempt++ {
		request(payment.Authorize, attempt)
		answers(payment.Failed, 30)
		for _, kind := range []string{payment.Capture, payment.Void, payment.Refund, payment.Authorize} {
			request(kind, attempt)
		}
		answers(payment.Failed, 30)
	}
	answers(payment.Denied, 300)
	answers(payment.OK, 300)
	require.True(t, p.Settled(), "whatever it was asked comes to an end")
	t.Logf("at most %d bytes", most)
}

func TestFits_Rider(t *testing.T) {
	r := rider.NewRider(worstID(0))
	now, most := fitsAt, 0
	told := func(out rider.Out) {
		t.Helper()
		allFit(t, out.Dispatch)
		allFit(t, out.Verdicts)
		most = max(most, fits(t, r))
	}
	n := 0
	says := func(c rider.Command) rider.Out {
		t.Helper()
		n++
		now = now.Add(time.Second)
		name := worstCall(n)
		c.ID, c.Digest, c.Verdict = name.ID, name.Digest, true
		require.NoError(t, c.Validate())
		out := r.Handle(&c, name, now)
		told(out)
		return out
	}
	hears := func(e dispatch.RiderEvent) {
		t.Helper()
		n++
		e.Area, e.RiderID = r.Area, r.ID
		switch e.Type {
		case dispatch.Entered, dispatch.Left:
			e.ID = made(r.ID, e.Type, e.Shift)
		case dispatch.RiderAssigned:
			e.ID = made(r.ID, e.OrderID, e.Type, e.Attempt, n)
		default:
			e.ID = made(r.ID, e.OrderID, e.Type, e.Attempt)
		}
		fits(t, &e)
		told(r.HandleEvent(&e, now))
	}
	online := func(area int) rider.Command {
		return rider.Command{Meta: domain.Meta{Type: rider.Online}, Area: worstID(area), Lat: worstPoint(0).Lat, Lon: worstPoint(0).Lon, Capacity: new(rider.MaxCapacity),
			Name: new(worstName(0)), Until: fitsAt.Add(time.Hour)}
	}
	says(online(1))
	hears(dispatch.RiderEvent{Meta: domain.Meta{Type: dispatch.Entered}, Shift: r.Shift})
	for i := range 100 {
		says(rider.Command{Meta: domain.Meta{Type: rider.Move}, Lat: worstPoint(i).Lat, Lon: new(float64(i))})
		says(rider.Command{Meta: domain.Meta{Type: rider.Claim}, OrderID: worstID(i)})
		hears(dispatch.RiderEvent{Meta: domain.Meta{Type: dispatch.RiderAssigned}, OrderID: worstID(i), Attempt: domain.MaxAttempts})
	}
	for range 40 {
		says(online(2)) // each supersedes the one before, and says so
	}
	for i := range 100 {
		hears(dispatch.RiderEvent{Meta: domain.Meta{Type: dispatch.RiderDelivered}, OrderID: worstID(i), Attempt: domain.MaxAttempts})
	}
	require.Empty(t, r.Deliveries)
	says(rider.Command{Meta: domain.Meta{Type: rider.Offline}})
	hears(dispatch.RiderEvent{Meta: domain.Meta{Type: dispatch.Left}, Shift: r.Shift})
	require.Equal(t, rider.StateOffline, r.View(now).State)
	for range 300 {
		v := says(rider.Command{Meta: domain.Meta{Type: rider.Claim}, OrderID: worstID(0)}).Verdicts[0]
		require.Equal(t, domain.Refused, v.Verdict)
		within(t, r.Recent, rider.MaxAcceptedBytes+domain.MaxRefusedBytes)
	}
	t.Logf("at most %d bytes", most)
}

func TestFits_Model(t *testing.T) {
	apply := func(key string, n int, note func(i int) projection.Note) (m *projection.Model) {
		m = &projection.Model{Key: key}
		for i := range n {
			note := note(i)
			note.Meta = domain.Meta{Type: note.Type, ID: made(note.OrderID, domain.MaxCount, key), At: fitsAt}
			note.Key = key
			if i%100 == 0 {
				fits(t, &note)
			}
			m.Apply(&note)
		}
		t.Logf("%.10s…: %d bytes", key, fits(t, m))
		return m
	}
	food := apply(projection.FoodKey(worstID(0), worstID(1)), 3*maxPartitions, func(i int) projection.Note { // the topic is made anew, and again
		return projection.Note{Meta: domain.Meta{Type: projection.Eaten}, OrderID: worstID(i), Quantity: domain.MaxLineQuantity, Spot: worstSpot(i)}
	})
	require.EqualValues(t, 3*maxPartitions, food.Count)
	for i := range maxPartitions {
		require.False(t, food.Apply(&projection.Note{Meta: domain.Meta{Type: projection.Eaten}, OrderID: worstID(i), Quantity: 1, Spot: worstSpot(2*maxPartitions + i)}))
	}
}

// shop is a store at full length.
type shop struct {
	t   *testing.T
	s   *stock.Inventory
	n   int
	max int
}

func (s *shop) says(c stock.Command) stock.Out {
	s.t.Helper()
	s.n++
	n := worstCall(s.n)
	c.ID, c.Digest, c.Verdict = n.ID, n.Digest, true
	if c.OrderID != "" {
		c.ID = made(c.OrderID, c.Type, c.Attempt)
	}
	require.NoError(s.t, cmp.Or(c.Validate(), c.CheckName()))
	out := s.s.Handle(&c, n, fitsAt.Add(time.Duration(s.n)*time.Millisecond))
	s.max = max(s.max, fits(s.t, s.s))
	if out.Reply != nil {
		fits(s.t, out.Reply)
	}
	if out.Verdict != nil {
		fits(s.t, out.Verdict)
	}
	return out
}

func (s *shop) put(i int, name string) string {
	s.t.Helper()
	return s.says(stock.Command{Meta: domain.Meta{Type: stock.PutProduct}, Product: worstID(i), Name: &name, Price: new(domain.MaxPrice)}).Verdict.Reason
}

func (s *shop) reserve(i int, lines ...domain.Line) *stock.Reply {
	s.t.Helper()
	return s.says(stock.Command{Meta: domain.Meta{Type: stock.Reserve}, OrderID: worstID(i), Attempt: domain.MaxAttempts, Lines: lines}).Reply
}

func (s *shop) register(i int) string {
	s.t.Helper()
	return s.says(stock.Command{Meta: domain.Meta{Type: stock.Register}, Name: new(worstName(i)), Area: new(worstID(i)), Lat: worstPoint(i).Lat, Lon: worstPoint(i).Lon,
		AutoAccept: new(false), CookingTime: new(domain.MaxCookingTime - 1)}).Verdict.Reason
}

func TestFits_Inventory(t *testing.T) {
	for name, perOrder := range map[string]int{"LongOrders": domain.MaxLines, "ShortOrders": 1} {
		t.Run(name, func(t *testing.T) {
			skipShort(t, name != "LongOrders")
			s := &shop{t: t, s: stock.NewInventory(worstID(0))}
			require.Empty(t, s.register(0))
			products := 0
			for ; s.put(products, worstName(products)) == ""; products++ {
				add := stock.Command{Meta: domain.Meta{Type: stock.AddStock}, Product: worstID(products), Quantity: domain.MaxQuantity}
				require.Empty(t, s.says(add).Verdict.Reason)
				sold := stock.Command{Meta: domain.Meta{Type: stock.SoldOut}, Product: worstID(products), Until: fitsAt}
				require.Empty(t, s.says(sold).Verdict.Reason)
			}
			slow := stock.Command{Meta: domain.Meta{Type: stock.Slow}, Until: fitsAt.Add(24 * time.Hour), By: new(domain.MaxCookingTime - 1)}
			require.Empty(t, s.says(slow).Verdict.Reason)
			require.Greater(t, products, domain.MaxLines)

			orders := 0
			for ; ; orders++ {
				var lines []domain.Line
				for j := range perOrder {
					lines = append(lines, domain.Line{Product: worstID((orders*perOrder + j) % products), Quantity: 1000})
				}
				r := s.reserve(orders, lines...)
				if r.Type == stock.Refused {
					require.Equal(t, stock.Busy, r.Reason)
					break
				}
			}
			for i := range products { // names that reservations would have to keep
				s.put(i, worstName(i+1))
			}
			require.NotEmpty(t, s.register(1))
			for i := range 40 { // refusals with everything in them
				lines := worstLines(false)
				for j := range lines {
					lines[j].Product, lines[j].Quantity = worstID(j), domain.MaxLineQuantity
				}
				require.NotEqual(t, stock.Reserved, s.reserve(10_000+i, lines...).Type)
			}
			for i := range 300 { // and refused commands
				out := s.says(stock.Command{Meta: domain.Meta{Type: stock.RemoveStock}, Product: worstID(100_000 + i), Quantity: 1})
				require.Equal(t, domain.Refused, out.Verdict.Verdict)
			}
			within(t, s.s.Products, stock.MaxProductBytes)
			within(t, s.s.Reservations, stock.MaxReservedBytes)
			within(t, s.s.Decided, stock.MaxAcceptedBytes+domain.MaxRefusedBytes)
			within(t, s.s.Refused, stock.MaxRefusedBytes)

			// What ends has room.
			require.Empty(t, s.says(stock.Command{Meta: domain.Meta{Type: stock.Close}}).Verdict.Reason)
			require.Empty(t, s.says(stock.Command{Meta: domain.Meta{Type: stock.RemoveStock}, Product: worstID(0), Quantity: 1}).Verdict.Reason)
			for i := range orders {
				kind := []string{stock.Commit, stock.Release}[i%2]
				require.True(t, s.says(stock.Command{Meta: domain.Meta{Type: kind}, OrderID: worstID(i), Attempt: domain.MaxAttempts}).Changed)
			}
			require.Empty(t, s.s.Reservations)
			require.Empty(t, s.register(2), "now the store can change")
			require.Empty(t, s.says(stock.Command{Meta: domain.Meta{Type: stock.Open}}).Verdict.Reason)
			require.Equal(t, stock.Reserved, s.reserve(20_000, domain.Line{Product: worstID(0), Quantity: 1}).Type)
			t.Logf("%d products, %d orders, at most %d bytes", products, orders, s.max)
		})
	}
}

// Decisions with short reasons are many.
func TestFits_Decided(t *testing.T) {
	s := &shop{t: t, s: stock.NewInventory("s")}
	for range 1000 {
		require.NotEmpty(t, s.says(stock.Command{Meta: domain.Meta{Type: stock.Open}}).Verdict.Reason, "it is not registered")
		within(t, s.s.Decided, domain.MaxRefusedBytes)
	}
	require.Less(t, len(s.s.Decided), 1000)
}

// quarter is an area at full length.
type quarter struct {
	t    *testing.T
	a    *dispatch.Area
	plan dispatch.Planner
	n    int
	id   func(i int) string // of orders
	who  func(i int) string // of riders
	// done is how each delivery ended that did.
	done map[string]dispatch.DeliveryEvent
	// size is how long the row was when it was last written, grown how much longer
	// it may be now, and max the longest; between, it was at most unseen longer.
	size, grown, max int
}

const unseen = 100_000

func (q *quarter) look() {
	q.t.Helper()
	size := fits(q.t, q.a)
	require.LessOrEqual(q.t, size, q.size+q.grown, "no command adds more than says counts")
	q.size, q.grown, q.max = size, 0, max(q.max, size)
	require.LessOrEqual(q.t, q.max+unseen, stream.MaxRecord)
	within(q.t, q.a.Deliveries, dispatch.DeliveryBytes)
	within(q.t, q.a.Riders, dispatch.RiderBytes)
	within(q.t, q.a.Done, dispatch.DoneBytes)
	within(q.t, q.a.Recent, dispatch.MaxAcceptedBytes+domain.MaxRefusedBytes)
}

func (q *quarter) says(c dispatch.Command) dispatch.Out {
	q.t.Helper()
	q.n++
	n := worstCall(q.n)
	c.Area = q.a.ID
	switch c.Type {
	case dispatch.Request, dispatch.Withdraw:
		c.ID = made(c.OrderID, c.Type, c.Attempt)
	case dispatch.GiveUp:
		c.ID = made(c.OrderID, c.Type, c.Attempt, q.n)
	case dispatch.Enter:
		c.ID = dispatch.EnterID(c.RiderID, c.Shift)
	case dispatch.Leave:
		c.ID = dispatch.LeaveID(c.RiderID, c.Shift, q.n)
	case dispatch.Move:
		c.ID = dispatch.MoveID(c.RiderID, c.Shift, n)
	default:
		c.ID = dispatch.CommandID(c.RiderID, c.Type, n)
		c.CommandID, c.Digest, c.Mark, c.Verdict = n.ID, n.Digest, n.Mark, true
	}
	fits(q.t, &c)
	out := q.a.Handle(&c, fitsAt.Add(time.Duration(q.n)*time.Millisecond), q.plan)
	// A command adds a delivery, a rider or an answer, and each event tells of a
	// step: the row is written only where it may be longer than it ever was.
	q.grown += 4000 + 2000*len(out.Deliveries)
	if q.size+q.grown > q.max+unseen {
		q.look()
	}
	allFit(q.t, out.Deliveries)
	allFit(q.t, out.Riders)
	for i := range out.Verdicts {
		fits(q.t, &out.Verdicts[i].Verdict)
	}
	for _, e := range out.Deliveries {
		if e.Success != nil {
			q.done[e.OrderID] = e
		}
	}
	return out
}

// request reports whether the area takes it.
func (q *quarter) request(i int) bool {
	q.t.Helper()
	out := q.says(dispatch.Command{Meta: domain.Meta{Type: dispatch.Request}, OrderID: q.id(i), Attempt: domain.MaxAttempts,
		Pickup: worstPoint(i), Drop: worstPoint(i), ReadyAt: fitsAt})
	for _, e := range out.Deliveries {
		if e.Type == dispatch.Failed && e.OrderID == q.id(i) {
			require.Equal(q.t, dispatch.AreaFull, e.Reason)
			return false
		}
	}
	return true
}

// enter reports whether the area lets a rider in.
func (q *quarter) enter(i int) bool {
	q.t.Helper()
	out := q.says(dispatch.Command{Meta: domain.Meta{Type: dispatch.Enter}, RiderID: q.who(i), Shift: domain.MaxCount - 1, Place: worstPoint(i), Capacity: dispatch.MaxCapacity,
		Until: 253_402_300_799_999})
	if out.Riders[0].Type == dispatch.Left {
		require.Contains(q.t, out.Riders[0].Reason, "as many riders as it can take")
		return false
	}
	require.Equal(q.t, dispatch.Entered, out.Riders[0].Type)
	return true
}

func (q *quarter) tells(kind, rider, order string) string {
	q.t.Helper()
	return q.says(dispatch.Command{Meta: domain.Meta{Type: kind}, RiderID: rider, OrderID: order}).Verdicts[0].Reason
}

func TestFits_Area(t *testing.T) {
	long, short := worstID, func(i int) string { return fmt.Sprint(i) }
	for name, c := range map[string]struct {
		id, who func(int) string
		mode    dispatch.Mode
		riders  bool // first
	}{
		"RidersLast":                {id: long, who: long},
		"RidersFirst":               {id: long, who: long, riders: true},
		"ShortOrders":               {id: short, who: long},
		"ShortOrders/RidersFirst":   {id: short, who: long, riders: true},
		"ShortRiders":               {id: long, who: short},
		"ShortOrders/ShortRiders":   {id: short, who: short},
		"ShortOrders/Claimed":       {id: short, who: long, mode: dispatch.ClaimOnly},
		"LongOrders/Claimed":        {id: long, who: long, mode: dispatch.ClaimOnly, riders: true},
		"ShortOrders/ClaimedByMany": {id: short, who: short, mode: dispatch.ClaimOnly, riders: true},
	} {
		t.Run(name, func(t *testing.T) {
			skipShort(t, name != "RidersLast")
			q := &quarter{t: t, a: dispatch.NewArea(worstID(0)), plan: dispatch.Planner{Mode: c.mode}, id: c.id, who: c.who, done: map[string]dispatch.DeliveryEvent{}}
			riders, orders := 0, 0
			if c.riders {
				for ; q.enter(riders); riders++ {
				}
			}
			for ; q.request(orders); orders++ {
			}
			for ; !c.riders && q.enter(riders); riders++ {
			}
			q.look()
			t.Logf("%d orders, %d riders, %d bytes", orders, riders, q.max)
			require.Greater(t, orders, 200)
			require.Greater(t, riders, 200)

			// A rider who is in may move, and come again with another shift.
			require.True(t, q.says(dispatch.Command{Meta: domain.Meta{Type: dispatch.Move, At: fitsAt.Add(time.Hour)}, RiderID: q.who(0), Shift: domain.MaxCount - 1, Place: worstPoint(7)}).Changed)
			out := q.says(dispatch.Command{Meta: domain.Meta{Type: dispatch.Enter}, RiderID: q.who(0), Shift: domain.MaxCount, Place: worstPoint(0), Capacity: 1})
			require.Equal(t, dispatch.Entered, out.Riders[0].Type)

			// Riders claim, decline open ones and give back what they have, and are
			// given up, as long as there is anything left.
			claims := 0
			for i, d := range q.a.Deliveries {
				if c.mode == dispatch.ClaimOnly && (i < 400 || i%10 == 0) {
					for range 3 {
						q.tells(dispatch.Decline, q.who((i*7+claims)%riders), d.OrderID)
						q.tells(dispatch.Claim, q.who((i+claims)%riders), d.OrderID)
						claims++
					}
				}
			}
			for round := range 4 {
				for i, d := range append([]*dispatch.Delivery{}, q.a.Deliveries...) {
					if rider := d.Rider(); rider != "" && (i+round)%20 == 0 {
						if i%2 == 0 {
							require.Empty(t, q.tells(dispatch.Decline, rider, d.OrderID), "a rider may always give back what they have")
						} else {
							before := len(d.Steps)
							q.says(dispatch.Command{Meta: domain.Meta{Type: dispatch.GiveUp}, RiderID: rider, OrderID: d.OrderID, Attempt: d.Attempt, Reason: dispatch.Late})
							require.Greater(t, len(d.Steps), before)
						}
						if c.mode == dispatch.ClaimOnly && d.Rider() == "" {
							q.tells(dispatch.Claim, q.who((i+round)%riders), d.OrderID)
						}
					}
				}
			}
			q.look()
			for _, d := range q.a.Deliveries {
				require.Less(t, len(d.Steps), 2*dispatch.MaxTries+1)
			}

			// All that riders have is picked up and delivered, the rest is withdrawn.
			for turn := 0; len(q.a.Deliveries) > 0; turn++ {
				all := append([]*dispatch.Delivery{}, q.a.Deliveries...)
				for _, d := range all {
					if rider := d.Rider(); rider != "" && d.State() == dispatch.StateAssigned {
						require.Empty(t, q.tells(dispatch.PickedUp, rider, d.OrderID))
					}
				}
				for i, d := range all {
					switch rider := d.Rider(); {
					case rider != "" && d.State() == dispatch.StatePickedUp:
						require.Empty(t, q.tells(dispatch.Delivered, rider, d.OrderID))
					case d.State() == dispatch.StateOpen && (i%3 == 0 || c.mode == dispatch.ClaimOnly || turn > 30):
						q.says(dispatch.Command{Meta: domain.Meta{Type: dispatch.Withdraw}, OrderID: d.OrderID, Attempt: d.Attempt, Reason: dispatch.NoRider})
					}
				}
			}
			for i := range orders {
				require.Contains(t, q.done, q.id(i), "every delivery ends")
			}
			for _, r := range append([]*dispatch.Rider{}, q.a.Riders...) {
				out := q.says(dispatch.Command{Meta: domain.Meta{Type: dispatch.Leave}, RiderID: r.ID, Shift: r.Shift})
				require.Equal(t, dispatch.Left, out.Riders[0].Type)
				require.Empty(t, out.Riders[0].Reason)
			}
			require.Empty(t, q.a.Riders)
			require.True(t, q.enter(0) && q.request(1_000_000), "there is room again")
			t.Logf("%d orders, %d riders, at most %d bytes", orders, riders, q.max)
		})
	}
}

// The coordinates of a command without an id stand in for it, and may be longer
// than any id of a client: whatever names such a command has room for them.
func TestFits_StandIn(t *testing.T) {
	n := 0
	call := func() domain.Name {
		n++
		return domain.NameOf("", worstDigest(n), fmt.Sprintf("%0249d/%d/%d", 0, math.MaxInt32, math.MaxInt64-n), "incarnation")
	}

	o := order.New(worstID(0))
	says := func(c order.Command) order.Out {
		t.Helper()
		c.Verdict = true
		out := o.Command(&c, call(), fitsAt, order.DefaultSettings())
		allFit(t, out.Verdicts)
		allFit(t, out.Events)
		fits(t, o)
		return out
	}
	require.Len(t, says(order.Command{Meta: domain.Meta{Type: order.Confirm}}).Verdicts, 1)
	require.Len(t, says(order.Command{Meta: domain.Meta{Type: order.Place}, UserID: worstID(0), StoreID: worstID(0), Lines: worstLines(false),
		Address: &order.Address{Lat: worstPoint(0).Lat, Lon: worstPoint(0).Lon}}).Events, 1)

	out := stock.NewInventory(worstID(0)).Handle(&stock.Command{Meta: domain.Meta{Type: stock.Open}}, call(), fitsAt)
	fits(t, out.Verdict)

	r, a := rider.NewRider(worstID(0)), dispatch.NewArea(worstID(0))
	tells := func(c rider.Command) (answer dispatch.Out) {
		t.Helper()
		c.Verdict = true
		out := r.Handle(&c, call(), fitsAt.Add(time.Duration(n)*time.Second))
		fits(t, r)
		require.Len(t, out.Dispatch, 1)
		allFit(t, out.Dispatch)
		answer = a.Handle(&out.Dispatch[0], fitsAt, dispatch.Planner{})
		allFit(t, answer.Riders)
		for i := range answer.Verdicts {
			fits(t, &answer.Verdicts[i].Verdict)
		}
		for i := range answer.Riders {
			allFit(t, r.HandleEvent(&answer.Riders[i], fitsAt).Verdicts)
		}
		return answer
	}
	place := worstPoint(0)
	require.Len(t, tells(rider.Command{Meta: domain.Meta{Type: rider.Online}, Area: a.ID, Lat: place.Lat, Lon: place.Lon}).Riders, 1)
	require.True(t, tells(rider.Command{Meta: domain.Meta{Type: rider.Move}, Lat: new(80.0), Lon: place.Lon}).Changed)
	a.Handle(&dispatch.Command{Meta: domain.Meta{Type: dispatch.Request, ID: made(worstID(1), dispatch.Request, 1)}, OrderID: worstID(1), Attempt: 1,
		Pickup: place, Drop: place}, fitsAt, dispatch.Planner{})
	require.Len(t, tells(rider.Command{Meta: domain.Meta{Type: rider.Decline}, OrderID: worstID(1)}).Riders, 1)
	require.Len(t, tells(rider.Command{Meta: domain.Meta{Type: rider.PickedUp}, OrderID: worstID(1)}).Verdicts, 1)
}
