-- The orders of the orders service.
-- Times are text in UTC with six digits of a second, so that they sort as they are.

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
  CONSTRAINT orders_created_at CHECK (created_at GLOB '????-??-?? ??:??:??.??????')
) WITHOUT ROWID;

-- The newest first.
CREATE INDEX orders_newest ON orders (created_at DESC, id DESC);
