-- Leaves: inbox_instances.seen_at
-- Consumers that run, and what each holds unacknowledged: only they can tell, as a broker does not say it over AMQP.
CREATE TABLE inbox_instances (
  consumer       text      NOT NULL,
  instance       text      NOT NULL,
  queue          text      NOT NULL DEFAULT '',
  -- The steps of the retry ladder in milliseconds, as JSON.
  retry_delays   text      NOT NULL DEFAULT '[]',
  subscribed     boolean   NOT NULL,
  held           integer   NOT NULL,
  oldest_held_at timestamp,
  started_at     timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  seen_at        timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  PRIMARY KEY (consumer, instance)
) WITHOUT ROWID;
