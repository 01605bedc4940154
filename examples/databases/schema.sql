-- The tables of the examples, for PostgreSQL and SQLite alike. Those of outbox
-- and inbox come from their own migrations.

CREATE TABLE customers (
    id text PRIMARY KEY
);

CREATE TABLE orders (
    id           text   PRIMARY KEY,
    -- Deferred: an unknown customer fails the commit.
    customer_id  text   NOT NULL REFERENCES customers (id) DEFERRABLE INITIALLY DEFERRED,
    amount_cents bigint NOT NULL
);

-- Nothing in it keeps an event from being applied twice: the inbox does.
CREATE TABLE notifications (
    id          text PRIMARY KEY,
    event_id    text NOT NULL,
    order_id    text NOT NULL,
    customer_id text NOT NULL
);
