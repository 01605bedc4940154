-- Stores one message.
-- No read before the write, no conflict clause: an id that is there already is
-- the producer's defect and must undo its transaction.
-- Times not given are the database's. available_at takes the statement's start,
-- which is never after created_at: rows due at once stay out of the index of
-- those that wait.
INSERT INTO pulse.outbox_messages
  (id, topic, type, key, payload, content_type, headers, correlation_id, causation_id, occurred_at, available_at)
VALUES
  ($1::uuid, $2, $3, $4, $5, $6, $7::jsonb, $8, $9,
   coalesce($10::timestamptz, clock_timestamp()), coalesce($11::timestamptz, statement_timestamp()))
