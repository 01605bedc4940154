package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox"
)

// checkNames reads the existing topics and consumers, counts what is not
// compared, and refuses unknown names: a comparison with nothing would find no
// difference.
func (v *verification) checkNames(ctx context.Context) error {
	q, err := v.Broker.Look(ctx)
	if err != nil {
		return fmt.Errorf("read the queues: %w", err)
	}
	if slices.Contains(q.Missing, v.Queue) {
		names, err := v.queueNames(ctx)
		if err != nil {
			return err
		}
		return &NameError{What: "queue", Name: v.Queue, Why: "the broker has no such queue", Have: names}
	}
	v.report.InFlight, v.report.DeadLettered = q.Ready+q.Retrying, q.DeadLettered
	if err := v.checkTopics(ctx); err != nil {
		return err
	}
	return v.checkConsumer(ctx)
}

// checkTopics counts the topics of the outbox. A compared topic must exist
// there, or at least have an order.
func (v *verification) checkTopics(ctx context.Context) error {
	var counts []struct {
		Topic, Status string
		N             int
	}
	if err := v.OutboxDB.SelectContext(ctx, &counts, `SELECT topic, status, count(*) AS n FROM outbox_messages GROUP BY topic, status`); err != nil {
		return fmt.Errorf("read the outbox: %w", sqldb.Schema(err))
	}
	there := make(map[string]bool)
	for _, c := range counts {
		there[c.Topic] = true
		v.Progress.total.Add(int64(c.N))
		if v.compares(c.Topic) {
			v.keepsPublished = v.keepsPublished || outbox.Status(c.Status) == outbox.Published
			continue
		}
		t := v.report.topic(c.Topic)
		t.Outbox += c.N
		switch outbox.Status(c.Status) {
		case outbox.Pending:
			t.Pending = c.N
		case outbox.Published:
			t.Published = c.N
		case outbox.Dead:
			t.Dead = c.N
		case outbox.Discarded:
			t.Discarded = c.N
		}
	}
	appliedTopics, err := v.countApplied(ctx)
	if err != nil {
		return err
	}
	for _, topic := range v.Topics {
		v.report.topic(topic).Compared = true
		if there[topic] || appliedTopics[topic] || v.Orders != nil && len(v.Topics) == 1 {
			continue
		}
		return &NameError{What: "topic", Name: topic, Why: "neither outbox nor inbox has an event of that topic", Have: keys(there, appliedTopics)}
	}
	return nil
}

// countApplied counts what the consumer has applied, by topic.
func (v *verification) countApplied(ctx context.Context) (there map[string]bool, err error) {
	var counts []struct {
		Topic string
		N     int
	}
	err = v.InboxDB.SelectContext(ctx, &counts, `SELECT topic, count(*) AS n FROM processed_events WHERE consumer = $1 GROUP BY topic`, v.Consumer)
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", sqldb.Schema(err))
	}
	there = make(map[string]bool)
	for _, c := range counts {
		if c.Topic == "" {
			continue
		}
		there[c.Topic] = true
		if !v.compares(c.Topic) {
			v.report.topic(c.Topic).Applied = c.N
		}
	}
	return there, nil
}

// checkConsumer refuses a consumer that has applied nothing and does not run,
// if others have.
func (v *verification) checkConsumer(ctx context.Context) error {
	names, err := v.inbox.Consumers(ctx)
	if err != nil {
		return fmt.Errorf("read the inbox: %w", err)
	}
	if len(names) == 0 || slices.Contains(names, v.Consumer) {
		return nil
	}
	instances, err := v.inbox.Instances(ctx)
	if err == nil && len(instances) > 0 {
		return nil
	}
	return &NameError{What: "consumer", Name: v.Consumer, Why: "it has applied nothing in this inbox, and is not running", Have: names}
}

// queueNames returns possible names of queues, for a broker that does not list
// them: topics and consumers. The caller checks which of them exist.
func (v *verification) queueNames(ctx context.Context) (names []string, err error) {
	var topics []string
	if err := v.OutboxDB.SelectContext(ctx, &topics, `SELECT DISTINCT topic FROM outbox_messages`); err != nil {
		return nil, fmt.Errorf("read the outbox: %w", sqldb.Schema(err))
	}
	consumers, err := v.inbox.Consumers(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	return append(topics, consumers...), nil
}

func keys(sets ...map[string]bool) []string {
	all := make(map[string]bool)
	for _, set := range sets {
		maps.Copy(all, set)
	}
	return slices.Sorted(maps.Keys(all))
}

func quoted(names []string) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(texts, ", ")
}

// Elsewhere says where the tables of outbox and inbox are, if they were not
// found: in another schema, or in the other side's database. Empty: not found
// there either.
func Elsewhere(ctx context.Context, outboxDB, inboxDB *sqlx.DB) string {
	var found []string
	for _, side := range []struct {
		db    *sqlx.DB
		flag  string
		table string
		other string // the other side's
	}{
		{outboxDB, "--outbox-db", "outbox_messages", "processed_events"},
		{inboxDB, "--inbox-db", "processed_events", "outbox_messages"},
	} {
		own, err := schemasOf(ctx, side.db, side.table)
		if err != nil || slices.Contains(own, "") {
			continue
		}
		if len(own) > 0 {
			found = append(found, fmt.Sprintf("%s: table %s is in schema %s; add search_path=%s to the URL", side.flag, side.table, strings.Join(own, ", "), own[0]))
			continue
		}
		if others, err := schemasOf(ctx, side.db, side.other); err == nil && len(others) > 0 {
			found = append(found, fmt.Sprintf("%s: that database has %s and no %s: is it the other one?", side.flag, side.other, side.table))
		}
	}
	return strings.Join(found, "; ")
}

// schemasOf lists the schemas with a table of that name; empty if the table is
// found without its schema.
func schemasOf(ctx context.Context, db *sqlx.DB, table string) (schemas []string, err error) {
	query := `SELECT CASE WHEN c.oid = to_regclass($1) THEN '' ELSE n.nspname END FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.relname = $1 AND c.relkind IN ('r', 'p', 'v') ORDER BY 1`
	if dialect(db) == sqldb.SQLite {
		query = `SELECT '' FROM sqlite_master WHERE name = $1`
	}
	err = db.SelectContext(ctx, &schemas, query, table)
	return schemas, err
}
