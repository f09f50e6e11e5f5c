package api

import (
	"time"

	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// answer is a single thing as clients see it. Its version is that of the thing,
// which If-Match compares. It is alone when the answer shows nothing but that: then
// the version tells two answers apart.
type answer interface {
	tag() (version int, alone bool)
}

// orderSummary is an order in a list.
type orderSummary struct {
	ID        string            `json:"id"`
	Status    order.Status      `json:"status"`
	Version   int               `json:"version"`
	Attempt   int               `json:"attempt"`
	UserID    string            `json:"userId"`
	StoreID   string            `json:"storeId"`
	Area      string            `json:"area"` // "" until the store has reserved
	Lines     []domain.Line     `json:"lines"`
	Total     *domain.Money     `json:"total"` // null until the store has reserved
	RiderID   string            `json:"riderId"`
	Reason    string            `json:"reason"`
	Short     []domain.Shortage `json:"short,omitempty"`
	ReadyAt   domain.Time       `json:"readyAt,omitzero"` // once accepted
	Deadline  *order.Wait       `json:"deadline"`
	PlacedAt  domain.Time       `json:"placedAt"`
	UpdatedAt domain.Time       `json:"updatedAt"`
}

// boardOrder is an order as the store sees it that cooks it.
type boardOrder struct {
	orderSummary
	Note     string `json:"note"`
	Phone    string `json:"phone"`
	Wish     string `json:"wish,omitempty"`
	PhotoURL string `json:"photoUrl,omitempty"`
}

// orderAnswer is an order by itself.
type orderAnswer struct {
	boardOrder
	Address  order.Address `json:"address"`
	Eta      *dispatch.Eta `json:"eta,omitempty"` // while a rider has it
	Rider    *courier      `json:"rider,omitempty"`
	Timeline []order.Entry `json:"timeline"`
}

// courier is the rider who has an order, as those see them who wait for it.
type courier struct {
	ID   string      `json:"id"`
	Name string      `json:"name"`
	Lat  *float64    `json:"lat,omitempty"` // left out while no place is known
	Lon  *float64    `json:"lon,omitempty"`
	At   domain.Time `json:"at,omitzero"` // when the rider was there
}

func (a *orderAnswer) tag() (int, bool) { return a.Version, a.Rider == nil }

// storeAnswer is a store by itself.
type storeAnswer struct{ stock.StoreView }

func (a *storeAnswer) tag() (int, bool) { return a.Version, a.PausedUntil == 0 && a.Slow == nil } // both end by themselves

// productAnswer is a product of a store, and what there is of it.
type productAnswer struct {
	StoreID string `json:"storeId"`
	stock.Level
}

func (a *productAnswer) tag() (int, bool) { return a.Version, false }

// riderAnswer is a rider with what they have in hand.
type riderAnswer struct {
	ID             string           `json:"id"`
	Name           string           `json:"name,omitempty"`
	Area           string           `json:"area,omitempty"`
	Lat            *float64         `json:"lat,omitempty"` // left out while no place is known
	Lon            *float64         `json:"lon,omitempty"`
	At             domain.Time      `json:"at,omitzero"` // when the rider was there
	State          string           `json:"state"`
	Until          domain.Time      `json:"until,omitzero"`
	Deliveries     []deliveryAnswer `json:"deliveries"`
	DeliveredCount int              `json:"deliveredCount"`
	Version        int              `json:"version"`
}

func (a *riderAnswer) tag() (int, bool) { return a.Version, len(a.Deliveries) == 0 }

// deliveryAnswer is a delivery with what the order says about it.
type deliveryAnswer struct {
	OrderID     string         `json:"orderId"`
	Attempt     int            `json:"attempt"`
	State       dispatch.State `json:"state"` // open, assigned or picked_up
	Pickup      pickup         `json:"pickup"`
	Drop        drop           `json:"drop"`
	Note        string         `json:"note"`
	Phone       string         `json:"phone,omitempty"` // for the rider who has it alone
	Lines       []domain.Line  `json:"lines"`
	RequestedAt domain.Time    `json:"requestedAt,omitzero"`
	ReadyAt     domain.Time    `json:"readyAt,omitzero"`
	Ready       bool           `json:"ready"`
	RiderID     string         `json:"riderId,omitempty"`
	Eta         *dispatch.Eta  `json:"eta,omitempty"`      // of one that a rider has
	Distance    *int           `json:"distance,omitempty"` // metres from the rider who asks to the store
}

type pickup struct {
	Store string  `json:"store,omitempty"`
	Name  string  `json:"name,omitempty"`
	Lat   float64 `json:"lat"`
	Lon   float64 `json:"lon"`
}

type drop struct {
	Text string  `json:"text"`
	Lat  float64 `json:"lat"`
	Lon  float64 `json:"lon"`
}

func now() domain.Time { return domain.At(time.Now()) }

// summaryOf is what a list shows of an order.
func summaryOf(o *order.Order) orderSummary {
	out := orderSummary{
		ID: o.ID, Status: o.Status, Version: o.Version, Attempt: max(o.Attempt, 1), UserID: o.UserID, StoreID: o.StoreID,
		Lines: o.Lines, Total: o.Total, RiderID: o.RiderID, Reason: o.Reason, Short: o.Short, ReadyAt: o.ReadyAt, Deadline: o.Deadline,
		PlacedAt: o.PlacedAt, UpdatedAt: o.Updated,
	}
	if o.Store != nil {
		out.Area = o.Store.Area
	}
	return out
}

// boardOf is what the order's store sees of it.
func boardOf(o *order.Order) boardOrder {
	return boardOrder{orderSummary: summaryOf(o), Note: o.Note, Phone: o.Phone, Wish: o.Wish, PhotoURL: o.PhotoURL}
}

// carried reports whether a rider has the order, or is on the way for it.
func carried(o *order.Order) bool {
	return o.RiderID != "" && !o.Status.Final() && o.Status != order.Delivered && o.Status != order.RefundRequested
}

// orderAnswer is what is told of an order that was placed.
func (s *server) orderAnswer(o *order.Order) (*orderAnswer, error) {
	c, err := s.carriage(o)
	if err != nil {
		return nil, err
	}
	return orderWith(o, c), nil
}

// carriage is what other views say of an order that a rider has: where the rider
// is, and when they are believed to be at the store and at the customer's.
type carriage struct {
	rider *rider.Rider // nil where none is known
	eta   dispatch.Eta // zero where none is known
}

func (s *server) carriage(o *order.Order) (c carriage, err error) {
	if !carried(o) {
		return c, nil
	}
	if c.rider, err = s.Tables.Riders.Get(o.RiderID); err != nil || o.Store == nil {
		return c, err
	}
	area, err := s.Tables.Areas.Get(o.Store.Area)
	if err != nil || area == nil {
		return c, err
	}
	// The area's view may lag behind the orders', or be ahead of it.
	if d, found := area.DeliveryView(o.ID); found && d.Eta != nil && d.RiderID == o.RiderID && d.Attempt == max(o.Attempt, 1) {
		c.eta = *d.Eta
	}
	return c, nil
}

func orderWith(o *order.Order, c carriage) *orderAnswer {
	a := &orderAnswer{boardOrder: boardOf(o), Address: o.Address, Timeline: o.Timeline}
	if carried(o) {
		a.Rider = courierOf(o.RiderID, c.rider)
		if c.eta != (dispatch.Eta{}) {
			a.Eta = &c.eta
		}
	}
	return a
}

// courierOf is a rider as the customer sees them. The row may lag behind the order.
func courierOf(id string, row *rider.Rider) *courier {
	c := &courier{ID: id}
	if row != nil {
		v := row.View(now())
		c.Name, c.Lat, c.Lon, c.At = v.Name, v.Lat, v.Lon, v.At
	}
	return c
}

// storeAnswer is what is told of a store, or nil when the row is not that of a
// registered one.
func (s *server) storeAnswer(row *stock.Inventory) (*storeAnswer, error) {
	if row == nil {
		return nil, nil
	}
	v := row.View(now())
	if v == nil {
		return nil, nil
	}
	return &storeAnswer{*v}, nil
}

// productAnswer is what is told of a product, or nil when the store has none of
// that name.
func (s *server) productAnswer(row *stock.Inventory, product string) (*productAnswer, error) {
	if row == nil || row.Store == nil {
		return nil, nil
	}
	l, found := row.Level(product, now())
	if !found {
		return nil, nil
	}
	return &productAnswer{StoreID: row.StoreID, Level: l}, nil
}

// riderAnswer is what is told of a rider, or nil when nothing is known of them.
// Where a delivery stands the area's view says, and what it is the orders'.
func (s *server) riderAnswer(row *rider.Rider) (*riderAnswer, error) {
	return s.riderWith(row, true)
}

// riderWith is riderAnswer, with the customers' phones or, in a list, without.
func (s *server) riderWith(row *rider.Rider, phones bool) (*riderAnswer, error) {
	if !row.Known() {
		return nil, nil
	}
	v := row.View(now())
	a := &riderAnswer{
		ID: v.ID, Name: v.Name, Area: v.Area, Lat: v.Lat, Lon: v.Lon, At: v.At, State: v.State, Until: v.Until,
		Deliveries: []deliveryAnswer{}, DeliveredCount: v.DeliveredCount, Version: v.Version,
	}
	if len(v.Deliveries) == 0 {
		return a, nil
	}
	area, err := s.Tables.Areas.Get(row.Area)
	if err != nil {
		return nil, err
	}
	for _, h := range v.Deliveries {
		// The area's view may lag behind the rider's, or be ahead of it.
		d, found := dispatch.DeliveryView{}, false
		if area != nil {
			d, found = area.DeliveryView(h.OrderID)
		}
		if !found || d.Attempt != h.Attempt || d.RiderID != v.ID {
			d = dispatch.DeliveryView{OrderID: h.OrderID, Attempt: h.Attempt, State: dispatch.StateAssigned, RiderID: v.ID}
		}
		one, err := s.deliveryAnswer(d, phones)
		if err != nil {
			return nil, err
		}
		a.Deliveries = append(a.Deliveries, one)
	}
	return a, nil
}

// deliveryAnswer is what is told of a delivery, with the customer's phone for the
// rider who has it.
func (s *server) deliveryAnswer(v dispatch.DeliveryView, phone bool) (deliveryAnswer, error) {
	a := deliveryAnswer{
		OrderID: v.OrderID, Attempt: v.Attempt, State: v.State, RequestedAt: v.RequestedAt, ReadyAt: v.ReadyAt, Ready: v.Ready,
		RiderID: v.RiderID, Eta: v.Eta, Lines: []domain.Line{},
		Pickup: pickup{Lat: v.Pickup.Lat, Lon: v.Pickup.Lon},
		Drop:   drop{Lat: v.Drop.Lat, Lon: v.Drop.Lon},
	}
	o, err := s.Tables.Orders.Get(v.OrderID)
	if err != nil || !placed(o) {
		return a, err
	}
	at := o.Address.Place()
	a.Note, a.Lines = o.Note, o.Lines
	a.Drop = drop{Text: o.Address.Text, Lat: at.Lat, Lon: at.Lon}
	a.Pickup.Store = o.StoreID
	if o.Store != nil {
		a.Pickup.Name, a.Pickup.Lat, a.Pickup.Lon = o.Store.Name, o.Store.Lat, o.Store.Lon
	}
	if phone {
		a.Phone = o.Phone
	}
	return a, nil
}
