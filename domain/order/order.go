package order

// Order is the row of one order.
type Order struct {
	ID string `json:"id"`
}
