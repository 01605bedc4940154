package reconcile

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// bodyHash is the SHA-256 of a body. The inbox stores that of the applied one.
type bodyHash [sha256.Size]byte

// suspect is an event that was applied with this body.
type suspect struct {
	id   string
	body bodyHash
}

// hashable returns the SQL expression that readHash reads.
func hashable(d sqldb.Dialect) string {
	if d == sqldb.SQLite {
		return "payload" // SQLite has no such function
	}
	return "sha256(payload)"
}

func readHash(d sqldb.Dialect, raw []byte) (hash bodyHash) {
	if d == sqldb.SQLite {
		return sha256.Sum256(raw)
	}
	copy(hash[:], raw)
	return hash
}

// judgeBody compares the published body with the applied one. Anyone who knows
// an id can publish another message under it; if that came first, the inbox
// takes the original for a conflict.
func (v *verification) judgeBody(ctx context.Context, e event) error {
	if !e.inOutbox() || !e.inInbox() || e.committed.body == e.applied.body {
		return nil
	}
	return v.suspectBody(ctx, suspect{e.id, e.applied.body})
}

func (v *verification) suspectBody(ctx context.Context, s suspect) error {
	if v.IgnoreBodies {
		return nil
	}
	if v.suspects = append(v.suspects, s); len(v.suspects) < lookUpSize {
		return nil
	}
	return v.lookUpBodies(ctx)
}

// lookUpBodies reads the bodies of suspects and finds those that were applied
// with another one. A compressed body may have been applied decompressed.
func (v *verification) lookUpBodies(ctx context.Context) error {
	if len(v.suspects) == 0 {
		return nil
	}
	applied := make(map[string]bodyHash, len(v.suspects))
	ids := make([]string, len(v.suspects))
	for i, s := range v.suspects {
		ids[i], applied[s.id] = s.id, s.body
	}
	v.suspects = v.suspects[:0]
	var conflicting []string
	err := v.eachBody(ctx, "payload", ids, func(id string, body []byte) {
		if want := applied[id]; want != sha256.Sum256(body) && want != hashInflated(body) {
			conflicting = append(conflicting, id)
		}
	})
	for _, id := range conflicting {
		if err == nil {
			err = v.report.find(Conflicting, id)
		}
	}
	return err
}

// maxInflated bounds a decompressed body: few bytes can become a thousand times as
// many.
const maxInflated = 1 << 30

// hashInflated returns the hash of a decompressed body; zero: it is not
// compressed, or too large.
func hashInflated(body []byte) (hash bodyHash) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return hash
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, io.LimitReader(r, maxInflated+1)); err != nil || n > maxInflated {
		return hash
	}
	sum.Sum(hash[:0])
	return hash
}

// bodies returns the hash of each of these events' body in the outbox.
func (v *verification) bodies(ctx context.Context, ids []string) (map[string]string, error) {
	hashes := make(map[string]string, len(ids))
	d := dialect(v.OutboxDB)
	err := v.eachBody(ctx, hashable(d), ids, func(id string, raw []byte) {
		hash := readHash(d, raw)
		hashes[id] = hex.EncodeToString(hash[:])
	})
	return hashes, err
}

// eachBody calls each with an expression over the body of each of these events
// in the outbox.
func (v *verification) eachBody(ctx context.Context, expression string, ids []string, each func(id string, raw []byte)) (err error) {
	if len(ids) == 0 {
		return nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("look up events in the outbox: %w", err)
		}
	}()
	condition, fit := v.outboxColumn().among(dialect(v.OutboxDB), ids, 1)
	rows, err := v.OutboxDB.QueryContext(ctx, "SELECT CAST(id AS text), "+expression+" FROM outbox_messages WHERE "+condition, list(fit))
	if err != nil {
		return sqldb.Schema(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var raw []byte
		if err := rows.Scan(&id, &raw); err != nil {
			return err
		}
		each(id, raw)
	}
	return rows.Err()
}
