-- Walks orders_newest_of_customer and stops at the limit.
SELECT id, event_id, customer_id, amount_cents, correlation_id, created_at
FROM orders
WHERE customer_id = ?1
ORDER BY created_at DESC, id DESC
LIMIT ?2
