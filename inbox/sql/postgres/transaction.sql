-- The number of the transaction, once more; see claim.sql. It takes no right to any table.
SELECT coalesce(pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text, '') AS transaction
