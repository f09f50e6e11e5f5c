package stock

// Inventory is the row of one store.
type Inventory struct {
	StoreID string `json:"storeId"`
}
