-- What keeps this role's relay from its work without an error: policies that hide rows from it, or keep them as they
-- are.
SELECT coalesce(string_agg(DISTINCT t.name, ', '), '') AS hidden, current_user::text AS role
FROM (VALUES ('outbox_messages', 'pulse.outbox_messages'::regclass), ('outbox_leases', 'pulse.outbox_leases'::regclass),
             ('outbox_relays', 'pulse.outbox_relays'::regclass), ('outbox_pauses', 'pulse.outbox_pauses'::regclass)) AS t(name, oid)
CROSS JOIN (VALUES ('r'), ('w'), ('d')) AS c(command)
WHERE row_security_active(t.oid) AND (t.name <> 'outbox_pauses' OR c.command = 'r') -- which it only reads
  AND (NOT EXISTS (
         SELECT FROM pg_policy AS p
         WHERE p.polrelid = t.oid AND p.polpermissive AND p.polcmd IN ('*', c.command::"char")
           AND (p.polroles = '{0}' OR EXISTS (SELECT FROM unnest(p.polroles) AS r WHERE pg_has_role(r, 'USAGE')))
           AND pg_get_expr(p.polqual, p.polrelid) = 'true')
       OR EXISTS (
         SELECT FROM pg_policy AS p
         WHERE p.polrelid = t.oid AND NOT p.polpermissive AND p.polcmd IN ('*', c.command::"char")
           AND (p.polroles = '{0}' OR EXISTS (SELECT FROM unnest(p.polroles) AS r WHERE pg_has_role(r, 'USAGE')))))
