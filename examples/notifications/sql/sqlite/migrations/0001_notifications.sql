-- What customers were told.
--
-- No key on event or order is unique: only the inbox keeps a notification
-- single, so that a broken inbox would show.
--
-- Ids are text in lower case. Times are UTC text with six digits of a second, which sorts as it should:
-- 2006-01-02 15:04:05.000000.

CREATE TABLE notifications (
  id             text      PRIMARY KEY,
  order_id       text      NOT NULL,
  event_id       text      NOT NULL,
  customer_id    text      NOT NULL,
  -- Whole cents: money is never a float.
  amount_cents   integer   NOT NULL,
  correlation_id text      NOT NULL,
  created_at     timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),

  CONSTRAINT notifications_amount_cents CHECK (typeof(amount_cents) = 'integer'),
  CONSTRAINT notifications_created_at CHECK (datetime(substr(created_at, 1, 19)) IS substr(created_at, 1, 19)
    AND substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]')
) WITHOUT ROWID;

-- The notifications of one order, in the order they were made.
CREATE INDEX notifications_order_id ON notifications (order_id, created_at, id);

-- Finding effects that an event has had more than once.
CREATE INDEX notifications_event_id ON notifications (event_id);
