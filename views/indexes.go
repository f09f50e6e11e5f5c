package views

import (
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// OrderIndexes are the lists of orders, each newest first. Rows that only
// remember refusals are in none.
var OrderIndexes = []Index[order.Order]{
	orders("time", func(*order.Order) (string, bool) { return "", true }),
	followed(orders("user", func(o *order.Order) (string, bool) { return o.UserID, true })),
	orders("store", func(o *order.Order) (string, bool) { return o.StoreID, true }),
	followed(orders("board", func(o *order.Order) (string, bool) { return o.StoreID, !o.Status.Final() })),
	orders("storeOver", func(o *order.Order) (string, bool) { return o.StoreID + "\x00" + string(o.Status), o.Status.Final() }), // the others are on the board
	orders("status", func(o *order.Order) (string, bool) { return string(o.Status), true }),
	followed(orders("rider", func(o *order.Order) (string, bool) { return o.RiderID, o.RiderID != "" })),
	orders("area", func(o *order.Order) (string, bool) {
		if o.Store == nil {
			return "", false
		}
		return o.Store.Area, true
	}),
}

func orders(name string, group func(*order.Order) (string, bool)) Index[order.Order] {
	return Index[order.Order]{Name: name, Version: 1, Of: func(_ string, o *order.Order) []Place {
		if o.Status == order.None {
			return nil
		}
		if g, ok := group(o); ok {
			return []Place{{g, Newest(o.PlacedAt)}}
		}
		return nil
	}}
}

// followed keeps a feed of an index. A row that was written without another
// version, as for a refused command, shows nothing new.
func followed(ix Index[order.Order]) Index[order.Order] {
	ix.Feed, ix.Mark = true, func(o *order.Order) uint64 { return uint64(o.Version) }
	return ix
}

// RiderIndexes are the lists of riders: on shift in an area, all by id, and all
// by what they delivered.
var RiderIndexes = []Index[rider.Rider]{
	{Name: "area", Version: 1, Feed: true, Of: func(_ string, r *rider.Rider) []Place {
		if !r.On {
			return nil
		}
		return []Place{{Group: r.Area}}
	}},
	all[rider.Rider](),
	{Name: "delivered", Version: 1, Of: func(_ string, r *rider.Rider) []Place { return []Place{{Sort: Most(r.DeliveredCount)}} }},
}

// StoreIndexes are the lists of registered stores: by area, and all by id.
var StoreIndexes = []Index[stock.Inventory]{
	{Name: "area", Version: 1, Of: func(_ string, s *stock.Inventory) []Place {
		if s.Store == nil {
			return nil
		}
		return []Place{{Group: s.Store.Area}}
	}},
	{Name: "all", Version: 1, Of: func(_ string, s *stock.Inventory) []Place {
		if s.Store == nil {
			return nil
		}
		return []Place{{}}
	}},
}

// AreaIndexes list the areas that dispatch knows, by id.
var AreaIndexes = []Index[dispatch.Area]{all[dispatch.Area]()}

// FoodIndexes list the foods that were ordered: all, of a store, and those of one
// name over all stores. Rows of orders are in none.
var FoodIndexes = []Index[projection.Model]{
	foods("foods", func(_, _ string) string { return "" }),
	foods("store", func(store, _ string) string { return store }),
	foods("product", func(_, product string) string { return product }),
}

func foods(name string, group func(store, product string) string) Index[projection.Model] {
	return Index[projection.Model]{Name: name, Version: 1, Of: func(_ string, m *projection.Model) []Place {
		store, product, is := m.Food()
		if !is {
			return nil
		}
		return []Place{{Group: group(store, product)}}
	}}
}

// all is every row by its key, and what changed among them.
func all[R any]() Index[R] {
	return Index[R]{Name: "all", Version: 1, Feed: true, Of: func(string, *R) []Place { return []Place{{}} }}
}
