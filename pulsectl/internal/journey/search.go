package journey

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
)

const (
	// answerLimit bounds one question to a database that an index answers.
	answerLimit = 10 * time.Second
	// maxAncestors bounds the way upwards, maxSearched how many correlation ids and
	// causes are searched for, each of which may read a whole table.
	maxAncestors = 20
	maxSearched  = 5
	// countLimit bounds Row.Before.
	countLimit = 10_000
)

func newFinder(ctx context.Context, s Sources, word string, o Options) *finder {
	o.LookLimit = cmp.Or(o.LookLimit, DefaultLookLimit)
	o.Search = cmp.Or(o.Search, DefaultSearch)
	o.Limit = cmp.Or(o.Limit, DefaultLimit)
	f := &finder{ctx: ctx, Sources: s, Options: o, byID: make(map[string]*Message), gets: make(map[string]tristate),
		journey: &Journey{Asked: word, At: time.Now()}}
	if id, err := uuid.Parse(word); err == nil {
		f.id = uuid.NullUUID{UUID: id, Valid: true}
	}
	if s.Inbox != nil {
		f.journey.Consumer = s.Inbox.Consumer()
	}
	f.inboxErr, f.queuesErr = s.InboxErr, s.QueuesErr
	f.given("the outbox", s.Outbox != nil, s.OutboxErr)
	f.given("the inbox", s.Inbox != nil, s.InboxErr)
	f.given("the queues", s.Queues != nil, s.QueuesErr)
	return f
}

// given notes a source that is not there.
func (f *finder) given(what string, given bool, err error) {
	switch {
	case err != nil:
		f.unseen("%s: %v", what, err)
	case !given:
		f.unseen("%s: not given", what)
	}
}

func (f *finder) unseen(format string, args ...any) {
	f.journey.Unseen = append(f.journey.Unseen, fmt.Sprintf(format, args...))
}

func (f *finder) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(f.journey.Notes, text) {
		f.journey.Notes = append(f.journey.Notes, text)
	}
}

// table is an outbox that is searched.
type table struct {
	*outbox.Outbox
	next bool
}

func (f *finder) tables() (all []table) {
	if f.Outbox != nil {
		all = append(all, table{f.Outbox, false})
	}
	if f.Next != nil {
		all = append(all, table{f.Next, true})
	}
	return all
}

// failed gives up an outbox that has not answered.
func (f *finder) failed(t table, err error) {
	if t.next {
		f.Next = nil
		if !errors.Is(err, outbox.ErrSchema) { // else it has none
			f.unseen("the outbox of the consuming service: %v", err)
		}
		return
	}
	f.Outbox, f.OutboxErr = nil, err
	f.unseen("the outbox: %v", err)
}

// search finds the messages in the outboxes and, if these do not have them, in
// the inbox.
func (f *finder) search(ctx context.Context) error {
	scanning, cancel := context.WithTimeout(ctx, f.Search)
	defer cancel()
	word := f.journey.Asked
	if f.id.Valid && f.get(ctx, f.id.UUID) != nil {
		f.journey.Kind = KindEvent
	}
	for _, by := range []struct {
		kind Kind
		q    outbox.ListQuery
	}{{KindKey, outbox.ListQuery{Key: word}}, {KindCorrelation, outbox.ListQuery{CorrelationID: word}}} {
		if len(f.found) > 0 {
			break
		}
		f.scan(ctx, scanning, by.q, recently(f.journey.At))
		if len(f.found) > 0 {
			f.journey.Kind = by.kind
		}
	}
	if len(f.found) == 0 {
		f.searchInbox(ctx, scanning)
	}
	for _, m := range f.found {
		m.Asked = true
	}
	f.ancestors(ctx)
	f.relatives(ctx, scanning)
	f.rows(ctx)
	return ctx.Err()
}

// get reads the message with this id.
func (f *finder) get(ctx context.Context, id uuid.UUID) *Message {
	for _, t := range f.tables() {
		limited, cancel := context.WithTimeout(ctx, answerLimit)
		r, err := t.Get(limited, id)
		cancel()
		switch {
		case err == nil:
			return f.add(t, r)
		case !errors.Is(err, outbox.ErrNotFound):
			f.failed(t, err)
		}
	}
	return nil
}

// window is a span of time that is searched at once.
type window struct{ since, until time.Time }

// recently are windows from now backwards: most messages that people ask for
// are young, and a time has an index.
func recently(now time.Time) []window {
	const day = 24 * time.Hour
	return []window{
		{since: now.Add(-time.Hour)}, {now.Add(-day), now.Add(-time.Hour)},
		{now.Add(-7 * day), now.Add(-day)}, {until: now.Add(-7 * day)},
	}
}

// around are windows from the time of a message outwards.
func around(at time.Time) []window {
	before, after := at.Add(-time.Hour), at.Add(24*time.Hour)
	return []window{{before, after}, {since: after}, {until: before}}
}

// scan reads what matches q in all outboxes, window by window, until scanning
// ends.
func (f *finder) scan(ctx, scanning context.Context, q outbox.ListQuery, windows []window) {
	for _, t := range f.tables() {
		for _, w := range windows {
			q.Since, q.Until, q.After, q.Limit = w.since, w.until, 0, f.Limit
			err := f.pages(scanning, t, q)
			if err != nil && ctx.Err() == nil && scanning.Err() != nil {
				f.note("outbox: not searched completely within %v, as there is no index by key, correlation or causation: --search 1m searches longer", f.Search)
				return
			}
			if err != nil {
				f.failed(t, err)
				break
			}
			if f.journey.More {
				return
			}
		}
	}
}

func (f *finder) pages(ctx context.Context, t table, q outbox.ListQuery) error {
	for {
		page, err := t.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			f.add(t, r)
		}
		if page.Next == 0 || f.journey.More {
			return nil
		}
		q.After = page.Next
	}
}

// add notes a message of an outbox; nil: there are too many.
func (f *finder) add(t table, r outbox.Record) *Message {
	m := f.message(r.ID.String())
	if m == nil || m.Outbox != nil {
		return m
	}
	m.Topic, m.Type, m.Key, m.CorrelationID, m.CausationID = r.Topic, r.Type, r.Key, r.CorrelationID, r.CausationID
	m.Outbox = &Row{
		Next: t.next, Seq: r.Seq, Status: r.Status, Attempts: r.Attempts, LastError: r.LastError, OccurredAt: r.OccurredAt,
		CreatedAt: r.CreatedAt, AvailableAt: r.AvailableAt, PublishedAt: r.PublishedAt, DiscardedAt: r.DiscardedAt,
		Bucket: r.Bucket, Bytes: len(r.Payload), hash: sha256.Sum256(r.Payload), inflated: inflated(r.Payload),
	}
	if r.BlockedBy != uuid.Nil {
		m.Outbox.Ahead = &Blocker{ID: r.BlockedBy.String()}
	}
	return m
}

// message returns the message of that id, a new one if there is none; nil: there
// are too many.
func (f *finder) message(id string) *Message {
	if m := f.byID[id]; m != nil {
		return m
	}
	if len(f.found) == f.Limit {
		f.journey.More = true
		return nil
	}
	m := &Message{ID: id, applied: make(map[string]bool)}
	f.found, f.byID[id] = append(f.found, m), m
	return m
}

// inflated is the hash of a body that was compressed: the consumer may have
// applied it decompressed.
func inflated(body []byte) (hash [32]byte) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return hash
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(r, 64<<20)); err != nil {
		return hash
	}
	sum.Sum(hash[:0])
	return hash
}

// searchInbox finds events that no outbox has: their rows were purged, or they
// come from another service.
func (f *finder) searchInbox(ctx, scanning context.Context) {
	if f.Inbox == nil {
		return
	}
	word := f.journey.Asked
	limited, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	seen, err := f.Inbox.Sightings(limited, word)
	if err != nil {
		f.inboxFailed(err)
		return
	}
	if len(seen) > 0 {
		f.journey.Kind = KindEvent
		f.message(word)
		return
	}
	for _, w := range recently(f.journey.At) {
		page, err := f.Inbox.List(scanning, inbox.ListQuery{CorrelationID: word, Since: w.since, Until: w.until, Limit: f.Limit})
		switch {
		case err != nil && ctx.Err() == nil && scanning.Err() != nil:
			f.note("inbox: not searched completely within %v, as there is no index by correlation: --search 1m searches longer", f.Search)
			return
		case err != nil:
			f.inboxFailed(err)
			return
		}
		for _, r := range page.Records {
			f.journey.Kind = KindCorrelation
			if m := f.message(r.EventID); m != nil {
				m.Topic, m.CorrelationID = r.Topic, r.CorrelationID
			}
		}
	}
}

func (f *finder) inboxFailed(err error) {
	f.Inbox, f.inboxErr = nil, err
	f.unseen("the inbox: %v", err)
}

// ancestors finds what has caused the messages.
func (f *finder) ancestors(ctx context.Context) {
	for i := 0; i < len(f.found) && i < maxAncestors; i++ {
		cause := f.found[i].CausationID
		if cause == "" || f.byID[cause] != nil {
			continue
		}
		id, err := uuid.Parse(cause)
		if err != nil || f.get(ctx, id) == nil {
			f.message(cause) // a consumer may have applied it
		}
	}
}

// relatives finds what the messages have caused, and what else belongs to their
// correlation ids.
func (f *finder) relatives(ctx, scanning context.Context) {
	searched := make(map[string]bool)
	for i, n := 0, 0; i < len(f.found) && n < maxSearched; i++ {
		m := f.found[i]
		windows := recently(f.journey.At)
		if m.Outbox != nil {
			windows = around(m.Outbox.CreatedAt)
		}
		if id := m.CorrelationID; id != "" && !searched[id] {
			searched[id], n = true, n+1
			f.scan(ctx, scanning, outbox.ListQuery{CorrelationID: id}, windows)
		}
		if m.Asked && n < maxSearched {
			n++
			f.scan(ctx, scanning, outbox.ListQuery{CausationID: m.ID}, windows)
		}
	}
}

// rows completes what is known of pending messages: relays, and what is in
// front of them.
func (f *finder) rows(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	for _, t := range f.tables() {
		relays, err := t.Relays(ctx)
		var pauses []outbox.Pause
		if err == nil {
			pauses, err = t.Pauses(ctx)
		}
		for i := 0; i < len(f.found) && err == nil; i++ {
			if row := f.found[i].Outbox; row != nil && row.Next == t.next && row.Status == outbox.Pending {
				row.Paused = pauseOf(pauses, f.found[i].Topic)
				err = f.row(ctx, t, row, relays)
			}
		}
		if err != nil {
			f.failed(t, err)
			continue
		}
		if t.next {
			f.nextRelays = relays
		} else {
			f.relays = relays
		}
	}
}

// pauseOf returns the pause that stops a topic, or nil.
func pauseOf(pauses []outbox.Pause, topic string) *outbox.Pause {
	for _, p := range pauses {
		if p.Topic == "" || p.Topic == topic {
			return &p
		}
	}
	return nil
}

func (f *finder) row(ctx context.Context, t table, row *Row, relays []outbox.RelayStatus) error {
	for _, r := range relays {
		if r.Live && slices.Contains(r.Buckets, row.Bucket) {
			row.Relay = r.Owner
		}
	}
	if row.Ahead != nil {
		id, err := uuid.Parse(row.Ahead.ID)
		if err != nil {
			return err
		}
		ahead, err := t.Get(ctx, id)
		if errors.Is(err, outbox.ErrNotFound) {
			row.Ahead = nil // it has gone meanwhile
			return nil
		}
		if err == nil {
			row.Ahead.Status, row.Ahead.Attempts, row.Ahead.LastError = ahead.Status, ahead.Attempts, ahead.LastError
		}
		return err
	}
	if row.Attempts > 0 || row.AvailableAt.After(f.journey.At) {
		return nil
	}
	var err error
	row.Before, row.BeforeMore, err = t.Count(ctx, outbox.ListQuery{Statuses: []outbox.Status{outbox.Pending}, Until: row.CreatedAt}, countLimit)
	return err
}
