-- Reads one stretch of notifications_order_id, in its order.
SELECT id, order_id, event_id, customer_id, amount_cents, correlation_id, created_at
FROM notifications
WHERE order_id = ?1
ORDER BY created_at, id
LIMIT ?2
