-- One version of an order and the event that tells of it, in one transaction:
--   psql "$PULSE_OUTBOX_DB" -v order=order-7 -v commit=true -f order.sql
\set ON_ERROR_STOP on

SELECT gen_random_uuid() AS event_id \gset
BEGIN;
-- Locks the order until the end of the transaction: events of one order get their place in the order of commits.
INSERT INTO orders (id, version) VALUES (:'order', 1)
  ON CONFLICT (id) DO UPDATE SET version = orders.version + 1
  RETURNING version \gset
INSERT INTO outbox_messages (id, topic, type, key, payload, headers, correlation_id)
VALUES (:'event_id', 'order.changed', 'OrderChanged', :'order',
        -- A text is no bytea: without convert_to it would be read as bytea's escape format.
        convert_to(jsonb_build_object('eventId', :'event_id', 'orderId', :'order', 'version', :version, 'note', E'a\\b\nü')::text, 'UTF8'),
        jsonb_build_object('tenant', 'acme'), 'checkout-' || :'order');
\if :commit
  COMMIT;
  \echo :event_id
\else
  ROLLBACK;
\endif
