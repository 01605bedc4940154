-- The sign of life that a relay gave last, as far as this database knows.
SELECT sign FROM pulse.outbox_relays WHERE owner = ?1
