-- The orders of the orders service.

CREATE TABLE orders (
  id             uuid        PRIMARY KEY,
  -- Of the event in the outbox, so that the two can be held against each other.
  event_id       uuid        NOT NULL UNIQUE,
  customer_id    text        NOT NULL,
  -- Whole cents: money is never a float.
  amount_cents   bigint      NOT NULL,
  correlation_id text        NOT NULL,
  created_at     timestamptz NOT NULL,

  CONSTRAINT orders_customer_id CHECK (btrim(customer_id) <> ''),
  CONSTRAINT orders_amount_cents CHECK (amount_cents BETWEEN 1 AND 100000000000)
);

-- The newest first.
CREATE INDEX orders_newest ON orders (created_at DESC, id DESC);
