-- Forgets relays that have been gone for a day. Two that do so at once do not
-- wait for one another.
DELETE FROM pulse.outbox_relays WHERE owner IN (
  SELECT owner FROM pulse.outbox_relays
  WHERE owner <> $1 AND expires_at < clock_timestamp() - interval '1 day'
  FOR UPDATE SKIP LOCKED
)
