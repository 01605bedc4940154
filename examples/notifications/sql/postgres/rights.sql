-- What the service does with its own tables.
GRANT SELECT, INSERT ON notifications TO ROLE_NAME;
GRANT SELECT ON notifications_schema TO ROLE_NAME;
