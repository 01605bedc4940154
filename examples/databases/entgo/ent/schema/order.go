package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// Order is the entity of an order.
type Order struct{ ent.Schema }

// Fields implements ent.Interface.
func (Order) Fields() []ent.Field {
	return []ent.Field{
		field.String("id"),
		field.String("customer_id"),
		field.Int64("amount_cents"),
	}
}
