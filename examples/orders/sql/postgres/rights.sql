-- What the service does with its own tables.
GRANT SELECT, INSERT ON orders, idempotency_keys TO ROLE_NAME;
GRANT SELECT ON orders_schema TO ROLE_NAME;
