package payment

// Payment is the row of one order's money.
type Payment struct {
	OrderID string `json:"orderId"`
}
