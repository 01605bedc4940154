SELECT id, event_id, customer_id, amount_cents, correlation_id, created_at
FROM orders
WHERE id = ?1
