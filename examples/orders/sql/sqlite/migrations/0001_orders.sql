-- The orders of the orders service.
--
-- Ids are text in lower case. Times are UTC text with six digits of a second, which sorts as it should:
-- 2006-01-02 15:04:05.000000.

CREATE TABLE orders (
  id             text      PRIMARY KEY,
  -- Of the event in the outbox, so that the two can be held against each other.
  event_id       text      NOT NULL UNIQUE,
  customer_id    text      NOT NULL,
  -- Whole cents: money is never a float.
  amount_cents   integer   NOT NULL,
  correlation_id text      NOT NULL,
  created_at     timestamp NOT NULL,

  CONSTRAINT orders_customer_id CHECK (trim(customer_id) <> ''),
  CONSTRAINT orders_amount_cents CHECK (typeof(amount_cents) = 'integer' AND amount_cents BETWEEN 1 AND 100000000000),
  CONSTRAINT orders_created_at CHECK (datetime(substr(created_at, 1, 19)) IS substr(created_at, 1, 19)
    AND substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]')
) WITHOUT ROWID;

-- The newest first.
CREATE INDEX orders_newest ON orders (created_at DESC, id DESC);
