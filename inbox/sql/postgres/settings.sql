-- Names of an application's own settings, such as app.tenant: PostgreSQL does not list those that are set. Here are the
-- ones that functions and policies speak of.
SELECT DISTINCT pg_catalog.lower(coalesce(found.names[1], found.names[2]))
FROM (
  SELECT p.prosrc AS text FROM pg_catalog.pg_proc AS p
  JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang AND l.lanname NOT IN ('internal', 'c')
  JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  UNION ALL
  SELECT pg_catalog.concat_ws(' ', pg_catalog.pg_get_expr(polqual, polrelid), pg_catalog.pg_get_expr(polwithcheck, polrelid))
  FROM pg_catalog.pg_policy
) AS sources
CROSS JOIN LATERAL pg_catalog.regexp_matches(sources.text,
  '_(?:config|setting)\s*\(\s*''([a-z_][a-z0-9_]*\.[a-z0-9_.]+)''|\mset\s+(?:local\s+|session\s+)?([a-z_][a-z0-9_]*\.[a-z0-9_.]+)\s*(?:=|to\M)', 'gi') AS found (names)
LIMIT 100
