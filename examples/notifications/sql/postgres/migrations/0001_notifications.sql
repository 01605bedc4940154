-- What customers were told.
--
-- No key on event or order is unique: only the inbox keeps a notification
-- single, so that a broken inbox would show.

CREATE TABLE notifications (
  id             uuid        PRIMARY KEY,
  order_id       uuid        NOT NULL,
  event_id       uuid        NOT NULL,
  customer_id    text        NOT NULL,
  -- Whole cents: money is never a float.
  amount_cents   bigint      NOT NULL,
  correlation_id text        NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The notifications of one order, in the order they were made.
CREATE INDEX notifications_order_id ON notifications (order_id, created_at, id);

-- Finding effects that an event has had more than once.
CREATE INDEX notifications_event_id ON notifications (event_id);
