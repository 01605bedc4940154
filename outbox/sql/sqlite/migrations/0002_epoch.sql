-- Leaves: outbox_leases.producer
-- What relays need to notice that the database has gone back or is another one, that its clock was set back, or that
-- the outbox is another service's.

-- When available_at was last set by a backoff, or by hand. Where the clock shows less, it was set back meanwhile, and that
-- moment means nothing.
ALTER TABLE outbox_messages ADD COLUMN rescheduled_at timestamp;

-- For how long, in milliseconds, the owner takes its leases. Who sees one stay as it is for that long may take it,
-- whatever the clocks say.
ALTER TABLE outbox_leases ADD COLUMN ttl bigint NOT NULL DEFAULT 20000;
-- In the row of bucket 0: the service whose outbox this is, by the name its relays publish under.
ALTER TABLE outbox_leases ADD COLUMN producer text NOT NULL DEFAULT '';
-- Beside it: that service has published. A claim without that gives way where another service makes one too.
ALTER TABLE outbox_leases ADD COLUMN proven boolean NOT NULL DEFAULT false;

ALTER TABLE outbox_relays ADD COLUMN ttl bigint NOT NULL DEFAULT 20000;
-- A random number, another with each sign of life. A relay that finds one which it has not left there last knows that
-- the database is not the one it was, or not as far.
ALTER TABLE outbox_relays ADD COLUMN sign bigint NOT NULL DEFAULT 0;
-- The service it publishes for.
ALTER TABLE outbox_relays ADD COLUMN producer text NOT NULL DEFAULT '';
