package inbox_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
)

// newConsumer makes a consumer of one kind that applies messages with h. The
// transactions of h are in's, or of its own in db.
type newConsumer func(in *inbox.Inbox, db *sqlx.DB, s inbox.Source, h inbox.Handler, cfg inbox.ConsumerConfig) (*inbox.Consumer, error)

// kinds are the kinds of consumer, which treat messages alike.
var kinds = map[string]newConsumer{
	"NewConsumer": func(in *inbox.Inbox, _ *sqlx.DB, s inbox.Source, h inbox.Handler, cfg inbox.ConsumerConfig) (*inbox.Consumer, error) {
		return inbox.NewConsumer(in, s, h, cfg)
	},
	"NewConsumerFunc": func(in *inbox.Inbox, db *sqlx.DB, s inbox.Source, h inbox.Handler, cfg inbox.ConsumerConfig) (*inbox.Consumer, error) {
		cfg.Inbox, cfg.BatchSize = in, 1
		return inbox.NewConsumerFunc(s, claimFirst(in, db, h), cfg)
	},
}

// claimFirst returns a handler that claims for itself, as users write it.
func claimFirst(in *inbox.Inbox, db *sqlx.DB, h inbox.Handler) func(context.Context, inbox.Message) error {
	return func(ctx context.Context, msg inbox.Message) error {
		tx, err := db.BeginTxx(ctx, nil)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		defer tx.Rollback()
		if fresh, err := in.Claim(ctx, tx, msg); err != nil || !fresh {
			return err
		}
		if err := h(ctx, tx, msg); err != nil {
			return err
		}
		return tx.Commit()
	}
}

// eachKind runs test with each kind of consumer on each kind of database.
func eachKind(t *testing.T, test func(t *testing.T, url string, kind newConsumer)) {
	eachKindNamed(t, func(t *testing.T, url, kind string) { test(t, url, kinds[kind]) })
}

// eachKindNamed is eachKind for tests whose consumers run in a process of their
// own.
func eachKindNamed(t *testing.T, test func(t *testing.T, url, kind string)) {
	for name := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachDatabase(t, func(t *testing.T, url string) { test(t, url, name) })
		})
	}
}

// consume starts a consumer, which ends with the test at the latest.
func (kind newConsumer) consume(t testing.TB, in *inbox.Inbox, db *sqlx.DB, s inbox.Source, h inbox.Handler, cfg inbox.ConsumerConfig) *running {
	t.Helper()
	quiet(t, &cfg)
	c, err := kind(in, db, s, h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, c)
}
