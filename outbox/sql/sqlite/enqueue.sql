-- Stores messages; the program repeats the row for each, and seq follows their order.
-- No read before the write, no conflict clause: an id that is there already is
-- the producer's defect and must undo its transaction.
-- Times not given are the database's, which stand still within the statement:
-- rows due at once stay out of the index of those that wait.
INSERT INTO pulse.outbox_messages
  (id, topic, type, key, payload, content_type, headers, correlation_id, causation_id, occurred_at, available_at, bucket)
VALUES
  (?, ?, ?, ?, ?, ?, ?, ?, ?,
   coalesce(?, strftime('%Y-%m-%d %H:%M:%f000', 'now')), coalesce(?, strftime('%Y-%m-%d %H:%M:%f000', 'now')), ?)
