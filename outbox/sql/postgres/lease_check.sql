-- What a relay looks at to know its share: all leases, what is paused and, of the other relays, those that count as alive.
-- The tables are tiny. What it makes of a row that does not change is its own affair.
-- $1 the relay, $2 the service it publishes for.
SELECT jsonb_build_object(
  'now', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
  'sign', (SELECT sign FROM pulse.outbox_relays WHERE owner = $1),
  'leases', (SELECT coalesce(jsonb_agg(jsonb_build_object(
      'bucket', bucket, 'token', token, 'owner', owner, 'ttl', ttl, 'producer', producer, 'proven', proven,
      'stamp', expires_at::text, 'free', expires_at <= clock_timestamp())), '[]') FROM pulse.outbox_leases),
  'relays', (SELECT coalesce(jsonb_agg(jsonb_build_object('owner', owner, 'ttl', ttl, 'stamp', expires_at::text)), '[]')
    FROM pulse.outbox_relays WHERE owner <> $1 AND expires_at > clock_timestamp()),
  'pauses', (SELECT coalesce(jsonb_agg(jsonb_build_object('topic', topic, 'actor', actor, 'reason', reason,
      'since', (extract(epoch FROM since) * 1000000)::bigint)), '[]') FROM pulse.outbox_pauses),
  'rivals', (SELECT coalesce(jsonb_agg(DISTINCT producer), '[]') FROM pulse.outbox_relays
    WHERE producer NOT IN ('', $2) AND expires_at > clock_timestamp() - interval '1 minute'))::text
