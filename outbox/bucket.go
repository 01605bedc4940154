package outbox

import (
	"crypto/md5"

	"github.com/google/uuid"
)

// buckets is the number of units that relays share among them. Like bucketOf
// it is a constant of the schema: rows already written depend on it.
const buckets = 64

// bucketOf returns the bucket of a message: the first byte of the MD5 of its
// key, or of its id's text where there is no key, modulo the number of buckets.
// PostgreSQL computes the same in a generated column, so that producers in plain
// SQL need not know it; testdata/buckets.json holds the two together. SQLite
// cannot.
func bucketOf(key string, id uuid.UUID) int {
	if key == "" {
		key = id.String()
	}
	sum := md5.Sum([]byte(key))
	return int(sum[0]) % buckets
}
