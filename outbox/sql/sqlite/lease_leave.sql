-- A relay that was shut down in order no longer counts.
DELETE FROM pulse.outbox_relays WHERE owner = ?1
