package databases

// OrderCreated is the event that the examples enqueue and apply.
type OrderCreated struct {
	OrderID     string `json:"orderId"`
	CustomerID  string `json:"customerId"`
	AmountCents int64  `json:"amountCents"`
}
