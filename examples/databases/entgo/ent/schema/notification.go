package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
	"github.com/google/uuid"
)

// Notification is the entity of a notification.
type Notification struct{ ent.Schema }

// Fields implements ent.Interface.
func (Notification) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").DefaultFunc(uuid.NewString),
		field.String("event_id"),
		field.String("order_id"),
		field.String("customer_id"),
	}
}
