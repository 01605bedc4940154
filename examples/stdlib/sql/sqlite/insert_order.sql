INSERT INTO orders (id, event_id, customer_id, amount_cents, correlation_id, created_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
