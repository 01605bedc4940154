-- The process that serves this session.
SELECT pg_catalog.pg_backend_pid()
