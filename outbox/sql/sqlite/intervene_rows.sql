-- Where the messages stand. Nobody writes beside this transaction.
SELECT id, status FROM pulse.outbox_messages
WHERE id IN (SELECT value FROM json_each(?1))
ORDER BY seq
