-- created_at is the database's clock.
INSERT INTO notifications (id, order_id, event_id, customer_id, amount_cents, correlation_id)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
