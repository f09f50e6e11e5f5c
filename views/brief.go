package views

import (
	"baedal/codecs"
	"baedal/domain"
	"baedal/domain/dispatch"
	"baedal/domain/order"
	"baedal/domain/projection"
	"baedal/domain/rider"
	"baedal/domain/stock"
)

// A brief row holds what the indexes of its view look at. Of most rows nothing
// else is asked under load, and to decode them whole is most of what a record
// costs.

func briefOrder(_ string, row []byte) (*order.Order, error) {
	b, err := codecs.Decode[struct {
		ID       string       `json:"id"`
		Status   order.Status `json:"status"`
		Version  int          `json:"version"`
		UserID   string       `json:"userId"`
		StoreID  string       `json:"storeId"`
		RiderID  string       `json:"riderId"`
		PlacedAt domain.Time  `json:"placedAt"`
		Store    *briefArea   `json:"store"`
	}](row)
	if err != nil {
		return nil, err
	}
	return &order.Order{ID: b.ID, Status: b.Status, Version: b.Version, UserID: b.UserID, StoreID: b.StoreID, RiderID: b.RiderID, PlacedAt: b.PlacedAt, Store: b.Store.store()}, nil
}

// briefArea is of a store what says where it is.
type briefArea struct {
	Area string `json:"area"`
}

func (a *briefArea) store() *stock.Store {
	if a == nil {
		return nil
	}
	return &stock.Store{Area: a.Area}
}

func briefRider(_ string, row []byte) (*rider.Rider, error) {
	b, err := codecs.Decode[struct {
		Area           string `json:"area"`
		On             bool   `json:"on"`
		DeliveredCount int    `json:"deliveredCount"`
	}](row)
	if err != nil {
		return nil, err
	}
	return &rider.Rider{Area: b.Area, On: b.On, DeliveredCount: b.DeliveredCount}, nil
}

func briefInventory(_ string, row []byte) (*stock.Inventory, error) {
	b, err := codecs.Decode[struct {
		Store *briefArea `json:"store"`
	}](row)
	if err != nil {
		return nil, err
	}
	return &stock.Inventory{Store: b.Store.store()}, nil
}

// The lists of areas and foods go by the key alone.

func briefDispatch(key string, _ []byte) (*dispatch.Area, error) { return &dispatch.Area{ID: key}, nil }

func briefModel(key string, _ []byte) (*projection.Model, error) {
	return &projection.Model{Key: key}, nil
}
