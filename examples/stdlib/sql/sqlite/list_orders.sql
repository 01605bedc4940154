-- Walks orders_newest and stops at the limit.
SELECT id, event_id, customer_id, amount_cents, correlation_id, created_at
FROM orders
ORDER BY created_at DESC, id DESC
LIMIT ?1
