-- What a relay looks at to know its share: all leases, what is paused and, of the other relays, those that count as alive.
-- The tables are tiny. What it makes of a row that does not change is its own affair.
-- ?1 the relay, ?2 the service it publishes for.
SELECT json_object(
  'now', CAST(unixepoch('now', 'subsec') * 1e6 AS integer),
  'sign', (SELECT sign FROM pulse.outbox_relays WHERE owner = ?1),
  'leases', (SELECT json_group_array(json_object(
      'bucket', bucket, 'token', token, 'owner', owner, 'ttl', ttl, 'producer', producer, 'proven', json(iif(proven, 'true', 'false')), 'stamp', CAST(expires_at AS text),
      'free', json(iif(expires_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now'), 'true', 'false')))) FROM pulse.outbox_leases),
  'relays', (SELECT json_group_array(json_object('owner', owner, 'ttl', ttl, 'stamp', CAST(expires_at AS text)))
    FROM pulse.outbox_relays WHERE owner <> ?1 AND expires_at > strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  'pauses', (SELECT json_group_array(json_object('topic', topic, 'actor', actor, 'reason', reason,
      'since', CAST(unixepoch(since, 'subsec') * 1e6 AS integer))) FROM pulse.outbox_pauses),
  'rivals', (SELECT json_group_array(DISTINCT producer) FROM pulse.outbox_relays
    WHERE producer NOT IN ('', ?2) AND expires_at > strftime('%Y-%m-%d %H:%M:%f000', 'now', '-1 minute')))
