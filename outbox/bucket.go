package outbox

import (
	"context"
	"crypto/fips140"
	"crypto/md5"
	"fmt"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// buckets is the number of units that relays share among them. Like bucketOf
// it is a constant of the schema: rows already written depend on it.
const buckets = 64

// bucketOf returns the bucket of a message on SQLite: the first byte of the MD5
// of its key, or of its id's text where there is no key, modulo the number of
// buckets. It spreads keys and secures nothing, so that FIPS mode need not forbid
// it. PostgreSQL computes buckets itself, in a generated column, so that producers
// in plain SQL need not know how; testdata/buckets.json has both functions.
func bucketOf(key string, id uuid.UUID) int {
	if key == "" {
		key = id.String()
	}
	var sum [md5.Size]byte
	fips140.WithoutEnforcement(func() { sum = md5.Sum([]byte(key)) })
	return int(sum[0]) % buckets
}

// checkMD5 returns an ErrSchema where the table computes buckets by MD5, as
// those did that were made by earlier versions, and the server refuses that.
func (o *Outbox) checkMD5(ctx context.Context) error {
	if o.dialect != sqldb.PostgreSQL {
		return nil
	}
	var needed bool
	err := o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Get(ctx, &needed, "bucket_md5") })
	if err != nil || !needed {
		return sqldb.Explain(err)
	}
	var works bool
	err = o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Get(ctx, &works, "md5") })
	if err != nil && sqldb.SQLState(err) != "" && !sqldb.Judge(err).Away() {
		return fmt.Errorf("%w: outbox_messages.bucket is computed by MD5, which this server refuses, as in FIPS mode; docs/operations.md says how to change it: %w",
			ErrSchema, err)
	}
	return err
}
