package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// batchBytes bounds the payloads of one batch: large ones make it shorter.
const batchBytes = 16 << 20

// batch is what one read found, and what becomes of it.
type batch struct {
	rows   []*outgoing  // in the order of seq
	asked  map[int]span // what was read of which bucket
	view   view
	full   bool     // there may be more
	stale  bool     // the cursors have moved back: read again before sending anything
	passed int      // rows that got their verdict stored, or wait behind such a one
	silent []string // topics that have turned out to be while the batch was sent
}

// moved reports whether the batch got anything out of the way. Where it did
// not, reading again at once would find the same.
func (b *batch) moved() bool { return b.passed > 0 }

// span is the part of a bucket that was read.
type span struct {
	lease
	from int64 // behind this seq
	end  bool  // to the end, rather than to the batch's limit
}

// outgoing is a row on its way out.
type outgoing struct {
	Message
	bucket   int
	attempts int
	old      bool    // older than grace
	waits    bool    // for its topic, or behind a row that does: it is not sent
	aside    bool    // waits, and that is noted: the cursor may pass it
	known    bool    // and was before
	handed   bool    // to the publisher
	verdict  verdict // none: not sent, or nothing is known
	err      error   // why it failed, is dead, or cannot be decoded
	behind   bool    // waits for an earlier row of its key that failed
	stored   bool    // the verdict is
}

// ask is how the lane tells the read where it stands.
type ask struct {
	Place int `json:"place"` // in which order to read
	lease
	Cursor        int64 `json:"cursor"`
	Interventions int64 `json:"interventions"`
}

// frame is what the read tells beside rows.
type frame struct {
	epoch
	Snapshot string        `json:"snapshot"`
	Top      int64         `json:"top"`
	Held     map[int]int64 `json:"held"` // interventions of the buckets that are ours
}

// read returns the next rows to send; nil where the lane has no bucket. Rows of
// silent topics come without payload, but for those in try.
func (l *lane) read(ctx context.Context, silent map[string]bool, try []trial) (*batch, error) {
	asks := l.asks()
	if len(asks) == 0 {
		return nil, nil
	}
	limit := l.relay.cfg.BatchSize
	// A bucket gives no more than a part of the batch, so that one busy key
	// leaves room for others.
	perBucket := max(1, limit/min(4, len(asks)))
	b, err := l.query(ctx, asks, limit, perBucket, silent, try)
	if err != nil {
		return nil, fmt.Errorf("read: %w", sqldb.Explain(err))
	}
	return b, nil
}

// asks returns where to read on, beginning with another bucket each time.
func (l *lane) asks() []ask {
	l.mu.Lock()
	asks := make([]ask, 0, len(l.buckets))
	for _, b := range l.buckets {
		asks = append(asks, ask{lease: b.lease, Cursor: b.cursor, Interventions: b.interventions})
	}
	l.mu.Unlock()
	asks = slices.DeleteFunc(asks, func(a ask) bool { return !l.relay.keeper.valid(a.lease) })
	turn := func(a ask) int { return (a.Bucket - l.first + buckets) % buckets }
	slices.SortFunc(asks, func(a, b ask) int { return cmp.Compare(turn(a), turn(b)) })
	for i := range asks {
		asks[i].Place = i
	}
	return asks
}

func (l *lane) query(ctx context.Context, asks []ask, limit, perBucket int, silent map[string]bool, try []trial) (*batch, error) {
	var known int64
	if n := len(l.horizon.samples); n > 0 {
		known = l.horizon.samples[n-1].top
	}
	named := l.takeStrays()
	for _, t := range try {
		named = append(named, t.seqs...)
	}
	// A row named twice, by a sweep and to be tried, would be sent twice.
	slices.Sort(named)
	named = slices.Compact(named)
	args := []any{jsonText(asks), jsonText(named), perBucket, limit, jsonText(some(silent, maxNamed)), known,
		l.relay.cfg.Owner, l.relay.cfg.Grace.Microseconds(), batchBytes}
	b := &batch{asked: make(map[int]span, len(asks))}
	var f frame
	bytes, sent := 0, time.Now()
	err := l.relay.read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		rows, err := tx.Query(ctx, "lane_read", args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			row := new(outgoing)
			var frameText, headers string
			var occurred *sqldb.Instant
			err := rows.Scan(&frameText, &row.Seq, &row.ID, &row.bucket, &row.Topic, &row.Type, &row.Key, &row.Payload,
				&row.ContentType, &headers, &row.CorrelationID, &row.CausationID, &occurred, &row.attempts, &row.old)
			if err != nil {
				return err
			}
			if frameText != "" {
				if err := json.Unmarshal([]byte(frameText), &f); err != nil {
					return err
				}
				if !l.relay.keeper.signs.readable(f.Sign, sent) {
					l.relay.keeper.hurry()
					return errElsewhere
				}
				continue
			}
			row.decode(headers, occurred)
			bytes += len(row.Payload)
			l.first = (row.bucket + 1) % buckets
			b.rows = append(b.rows, row)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(b.rows, func(a, b *outgoing) int { return cmp.Compare(a.Seq, b.Seq) })
	return b, l.place(ctx, b, asks, f, limit, perBucket, bytes >= batchBytes)
}

// maxNamed bounds the topics that a read is told of. The payloads of more are read
// in vain.
const maxNamed = 500

// some returns up to n of set.
func some(set map[string]bool, n int) []string {
	list := make([]string, 0, min(n, len(set)))
	for name := range set {
		if len(list) == n {
			break
		}
		list = append(list, name)
	}
	return list
}

// place relates what was read to the lane's cursors.
func (l *lane) place(ctx context.Context, b *batch, asks []ask, f frame, limit, perBucket int, cut bool) error {
	s, err := parseSnapshot(f.Snapshot, f.Top)
	if err != nil {
		return err
	}
	if change, lost := f.epoch.since(l.epoch); change != "" {
		l.relay.startOver(ctx, l.generation, change, lost)
		b.stale = true
		return nil
	}
	l.epoch = f.epoch
	b.view = l.horizon.look(s, time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range asks {
		own, interventions := l.buckets[a.Bucket], int64(0)
		if held, ok := f.Held[a.Bucket]; ok && own != nil && own.Token == a.Token {
			interventions = held
		} else {
			continue // lost, or about to be noticed so
		}
		if own.interventions != interventions {
			own.interventions, own.cursor, a.Cursor, own.held = interventions, 0, 0, nil
		}
		b.stale = own.look(b.view) || b.stale
		b.asked[a.Bucket] = span{lease: a.lease, from: a.Cursor}
	}
	b.full = cut
	counts, ahead := make(map[int]int), 0
	for _, row := range b.rows {
		if row.Seq > b.asked[row.bucket].from {
			counts[row.bucket]++
			ahead++
		}
	}
	b.full = cut || ahead >= limit
	for n, asked := range b.asked {
		asked.end = !b.full && counts[n] < perBucket
		b.asked[n] = asked
	}
	for _, c := range counts {
		b.full = b.full || c >= perBucket
	}
	return nil
}

// decode fills in what needs a look; what cannot be sent gets an error. Such
// rows come from producers in plain SQL: Enqueue refuses them.
func (row *outgoing) decode(headers string, occurred *sqldb.Instant) {
	if occurred == nil {
		row.err = errors.New("occurred_at: is no point in time")
		return
	}
	row.OccurredAt = occurred.Time
	if headers == "{}" {
		return
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(headers), &values); err != nil {
		row.err = fmt.Errorf("headers: %w", err)
		return
	}
	row.Headers = make(map[string]string, len(values))
	for name, value := range values {
		var text string
		switch {
		case value[0] != '"' || json.Unmarshal(value, &text) != nil:
			row.err = errors.Join(row.err, fmt.Errorf("headers: %q must be a string, not %.100s", name, value))
		case wire.ReservedHeader(name):
			row.err = errors.Join(row.err, fmt.Errorf("headers: %q is reserved", name))
		}
		row.Headers[name] = text
	}
}
