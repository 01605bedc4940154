SELECT key, fingerprint, order_id, event_id, correlation_id
FROM idempotency_keys
WHERE key = ?1
