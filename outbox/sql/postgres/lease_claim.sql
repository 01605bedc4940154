-- Names the service whose outbox this is, where none is named, or one that has not published. Returns nothing where
-- another name has come meanwhile.
-- $1 the service, $2 the one that was seen there.
UPDATE pulse.outbox_leases SET producer = $1 WHERE bucket = 0 AND producer = $2 AND NOT proven
RETURNING producer
