-- Whether the buckets of this table take MD5, which a server in FIPS mode refuses.
SELECT coalesce(bool_or(pg_get_expr(d.adbin, d.adrelid) LIKE '%md5(%'), false)
FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.adrelid = 'pulse.outbox_messages'::regclass AND a.attname = 'bucket'
