package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/internal/cursor"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// longestWait in microseconds is a century: more is what somebody has put into the
// columns.
const longestWait = 100 * 365 * 24 * int64(time.Hour/time.Microsecond)

// page is what one read found.
type page struct {
	rows  []*outgoing  // in the order of seq
	spans map[int]span // what was read of which bucket; nil: the lane has none
	view  cursor.View
	full  bool // there may be more
	// What is paused as of the snapshot that has found the rows.
	paused paused
	stale  bool // the cursors have moved back: read again before sending anything
}

// span is the part of a bucket that was read.
type span struct {
	lease
	from int64 // behind this seq
	end  bool  // to the end, rather than to the page's limit
}

// outgoing is a row on its way out, as it was read.
type outgoing struct {
	Message
	bucket   int
	attempts int
	fresh    bool      // ahead of what was read in order; see relay_lane_fresh.go
	old      bool      // older than grace
	due      time.Time // since when it should be out, by this process's monotonic clock
	bad      error     // why it cannot be sent; nil: it can
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
	Age      int64         `json:"age"` // see cursor.ParseSnapshot
	Top      int64         `json:"top"`
	Paused   []string      `json:"paused"`
	Held     map[int]int64 `json:"held"` // interventions of the buckets that are ours
}

// read returns the next rows. Those of silent topics come without payload, but
// for those to try.
func (l *lane) read(ctx context.Context, silent map[string]bool, trials []trial) (page, error) {
	asks := l.asks()
	if len(asks) == 0 {
		return page{}, nil
	}
	limit := l.relay.cfg.BatchSize
	// A bucket gives no more than a part of the page, so that one busy key
	// leaves room for others.
	perBucket := max(1, limit/min(4, len(asks)))
	p, err := l.query(ctx, asks, limit, perBucket, silent, trials)
	if err != nil {
		return page{}, fmt.Errorf("read: %w", sqldb.Explain(err))
	}
	return p, nil
}

// asks returns where to read on, beginning with another bucket each time.
func (l *lane) asks() []ask {
	l.mu.Lock()
	asks := make([]ask, 0, len(l.buckets))
	for _, b := range l.buckets {
		asks = append(asks, ask{lease: b.lease, Cursor: b.position.Cursor, Interventions: b.interventions})
	}
	l.mu.Unlock()
	asks = slices.DeleteFunc(asks, func(a ask) bool { return !l.relay.leases.valid(a.lease) })
	turn := func(a ask) int { return (a.Bucket - l.first + buckets) % buckets }
	slices.SortFunc(asks, func(a, b ask) int { return cmp.Compare(turn(a), turn(b)) })
	for i := range asks {
		asks[i].Place = i
	}
	return asks
}

func (l *lane) query(ctx context.Context, asks []ask, limit, perBucket int, silent map[string]bool, trials []trial) (page, error) {
	named := l.takeStrays()
	for _, t := range trials {
		named = append(named, t.seqs...)
	}
	// A row named twice, by a sweep and to be tried, would be sent twice.
	slices.Sort(named)
	named = slices.Compact(named)
	news := l.newsOf(asks, limit)
	var found []*outgoing
	var f frame
	bytes, cut, sent := 0, false, time.Now()
	err := l.relay.read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := l.lookForNews(ctx, tx, &news); err != nil {
			return err
		}
		room := l.relay.cfg.BatchBytes - news.bytes()
		sent = time.Now()
		return scanRows(ctx, tx, func(text string, row *outgoing, over bool) error {
			switch cut = cut || over; {
			case over:
				return nil
			case text == "":
				bytes += len(row.Payload)
				cut = cut || bytes >= room
				l.first = (row.bucket + 1) % buckets
				found = append(found, row)
				return nil
			}
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				return err
			}
			if !l.relay.leases.signs.readable(f.Sign, sent) {
				l.relay.leases.hurry()
				return errElsewhere
			}
			return nil
		}, "lane_read", jsonText(asks), jsonText(named), perBucket, limit, jsonText(some(silent, maxNamed)), l.horizon.Top(),
			l.relay.cfg.Owner, l.relay.cfg.Grace.Microseconds(), room)
	})
	if err != nil {
		return page{}, err
	}
	snapshot, err := cursor.ParseSnapshot(f.Snapshot, f.Age, f.Top)
	if err != nil {
		return page{}, err
	}
	if change, lost := f.epoch.since(l.epoch); change != "" {
		l.relay.startOver(ctx, l.generation, change, lost)
		return page{stale: true}, nil
	}
	l.epoch = f.epoch
	p := page{rows: found, paused: pausedTopics(f.Paused)}
	if l.relay.pauses.saw(p.paused, sent) {
		l.relay.leases.hurry() // who and why
	}
	l.horizon, p.view = l.horizon.Look(snapshot, sent, time.Now())
	p.spans, p.stale = l.locate(asks, f.Held, p.view)
	p.full, p.spans = measure(p.rows, p.spans, limit, perBucket, cut)
	l.backlog = p.full
	if bytes+news.bytes() <= l.relay.cfg.BatchBytes { // else a large message goes alone
		p.rows = append(p.rows, news.apart(p.rows, f.Held)...)
	}
	slices.SortFunc(p.rows, func(a, b *outgoing) int { return cmp.Compare(a.Seq, b.Seq) })
	return p, nil
}

// scanRows calls take for each row of a named query that has the columns of lane_read. over: it is
// the first that does not fit, and comes without payload.
func scanRows(ctx context.Context, tx *sqldb.Tx, take func(frame string, row *outgoing, over bool) error, name string, args ...any) error {
	sent := time.Now()
	rows, err := tx.Query(ctx, name, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row := new(outgoing)
		var frame, headers string
		var occurred *sqldb.Instant
		var waits int64 // in microseconds
		var over bool
		err := rows.Scan(&frame, &row.Seq, &row.ID, &row.bucket, &row.Topic, &row.Type, &row.Key, &row.Payload,
			&row.ContentType, &headers, &row.CorrelationID, &row.CausationID, &occurred, &row.attempts, &row.old, &waits, &over)
		if err != nil {
			return err
		}
		if frame == "" {
			row.due = sent.Add(-time.Duration(min(max(waits, 0), longestWait)) * time.Microsecond)
			row.decode(headers, occurred)
		}
		if err := take(frame, row, over); err != nil {
			return err
		}
	}
	return rows.Err()
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

// locate returns what was read of each bucket that still is the lane's. stale:
// rows may have appeared behind a cursor, which has moved back to them. held has
// the interventions of the buckets that the read found to be ours.
func (l *lane) locate(asks []ask, held map[int]int64, view cursor.View) (spans map[int]span, stale bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	spans = make(map[int]span, len(asks))
	for _, a := range asks {
		own := l.buckets[a.Bucket]
		interventions, ours := held[a.Bucket]
		if !ours || own == nil || own.Token != a.Token {
			continue // lost, or about to be noticed so
		}
		if own.interventions != interventions {
			own.interventions, own.position.Cursor, a.Cursor, own.held = interventions, 0, 0, nil
		}
		var back bool
		own.position, back = own.position.Look(view)
		stale = stale || back
		spans[a.Bucket] = span{lease: a.lease, from: a.Cursor}
	}
	return spans, stale
}

// measure returns whether there may be more than rows, and spans with what was
// read to its end. cut: the payloads were too many bytes.
func measure(rows []*outgoing, spans map[int]span, limit, perBucket int, cut bool) (full bool, measured map[int]span) {
	counts, ahead := make(map[int]int), 0
	for _, row := range rows {
		if row.Seq > spans[row.bucket].from {
			counts[row.bucket]++
			ahead++
		}
	}
	full = cut || ahead >= limit
	measured = make(map[int]span, len(spans))
	for n, s := range spans {
		s.end = !full && counts[n] < perBucket
		measured[n] = s
	}
	for _, c := range counts {
		full = full || c >= perBucket
	}
	return full, measured
}

// decode fills in what needs a look; what cannot be sent gets an error. Such
// rows come from producers in plain SQL: Enqueue refuses them.
func (row *outgoing) decode(headers string, occurred *sqldb.Instant) {
	if occurred == nil {
		row.bad = errors.New("occurred_at: is no point in time")
		return
	}
	if year := occurred.Time.UTC().Year(); year < 1 || year > 9999 {
		// RFC 3339 has no such year, so that no consumer could read the message.
		row.bad = fmt.Errorf("occurred_at: year %d; must be 1 to 9999", year)
		return
	}
	row.OccurredAt = occurred.Time
	if headers == "{}" {
		return
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(headers), &values); err != nil {
		row.bad = fmt.Errorf("headers: %w", err)
		return
	}
	row.Headers = make(map[string]string, len(values))
	for name, value := range values {
		var text string
		switch {
		case value[0] != '"' || json.Unmarshal(value, &text) != nil:
			row.bad = errors.Join(row.bad, fmt.Errorf("headers: %q must be a string, not %.100s", name, value))
		case name == wire.HeaderSignature:
			row.Signature = text
			continue
		case name == wire.HeaderEncryption:
			row.Encryption = text
			continue
		case name == wire.HeaderVersion:
			var err error
			if row.Version, err = wire.ParseVersion(text); err != nil {
				row.bad = errors.Join(row.bad, fmt.Errorf("headers: %q: %w", name, err))
			}
			continue
		case wire.ReservedHeader(name):
			row.bad = errors.Join(row.bad, fmt.Errorf("headers: %q is reserved", name))
		}
		row.Headers[name] = text
	}
}
