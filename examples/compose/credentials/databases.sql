-- Runs once, as superuser, when the server's data directory is new: a role and
-- a database for each service, closed to all others.

-- A statement that fails must not leave a password in the server's log.
SET log_min_error_statement = 'panic';
SET log_statement = 'none';

\set orders_password `cat /run/pulse-events/orders.password`
\set notifications_password `cat /run/pulse-events/notifications.password`

-- A file that cannot be read gives an empty text, and the role would quietly
-- have no password: division by zero ends the script instead.
SELECT 1 / least(1, length(:'orders_password'), length(:'notifications_password')) AS passwords_found;

REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC;

CREATE ROLE orders LOGIN PASSWORD :'orders_password';
CREATE DATABASE orders OWNER orders;
REVOKE CONNECT, TEMPORARY ON DATABASE orders FROM PUBLIC;

CREATE ROLE notifications LOGIN PASSWORD :'notifications_password';
CREATE DATABASE notifications OWNER notifications;
REVOKE CONNECT, TEMPORARY ON DATABASE notifications FROM PUBLIC;
