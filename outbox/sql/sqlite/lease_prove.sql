-- Notes that the service whose outbox this is has published.
-- ?1 the service.
UPDATE pulse.outbox_leases SET proven = true WHERE bucket = 0 AND producer = ?1
