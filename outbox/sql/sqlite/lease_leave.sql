-- A relay that was shut down in order no longer counts.
DELETE FROM outbox_relays WHERE owner = ?
