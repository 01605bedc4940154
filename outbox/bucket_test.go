package outbox

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// The vectors were made by neither of the two functions that they compare, and a
// row gets the same bucket whether Go or the database computes it.
func TestBucketSameInDatabase(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		text, err := os.ReadFile("../testdata/buckets.json")
		if err != nil {
			t.Fatal(err)
		}
		var vectors []struct {
			Key    string
			ID     uuid.UUID
			MD5    int
			SHA256 int
		}
		if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
			t.Fatalf("%d vectors, %v", len(vectors), err)
		}
		ob, _ := d.newOutbox(t)
		for _, v := range vectors {
			if got := bucketOf(v.Key, v.ID); got != v.MD5 {
				t.Errorf("Go: key %.20q, id %v: %d, want %d", v.Key, v.ID, got, v.MD5)
			}
			want := v.MD5
			if d.dialect == sqldb.PostgreSQL {
				want = v.SHA256
			}
			if v.ID == uuid.Nil { // Enqueue would give it another
				continue
			}
			err := inTx(t, ob, func(tx *sqlx.Tx) error {
				var got int
				if err := ob.Enqueue(t.Context(), tx, Message{ID: v.ID, Topic: "t", Key: v.Key}); err != nil {
					return err
				}
				if err := tx.Get(&got, `SELECT bucket FROM outbox_messages`); err != nil {
					return err
				}
				if got != want {
					t.Errorf("database: key %.20q, id %v: %d, want %d", v.Key, v.ID, got, want)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Every bucket has a lease, or its messages would never be published.
func TestMigrateCreatesEveryLease(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		_, db := d.newOutbox(t)
		var n, lowest, highest int
		if err := db.QueryRow(`SELECT count(*), min(bucket), max(bucket) FROM outbox_leases`).Scan(&n, &lowest, &highest); err != nil {
			t.Fatal(err)
		}
		if n != buckets || lowest != 0 || highest != buckets-1 {
			t.Errorf("%d leases from %d to %d, want %d", n, lowest, highest, buckets)
		}
	})
}
