-- Writes nothing where the key is taken; waits while another transaction is taking it.
INSERT INTO idempotency_keys (key, fingerprint, order_id, event_id, correlation_id)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (key) DO NOTHING
