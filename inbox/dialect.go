package inbox

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Dialect is the SQL of a kind of database.
type Dialect string

// The supported dialects.
const (
	PostgreSQL Dialect = "postgres" // 13 and later
	SQLite     Dialect = "sqlite"   // 3.43 and later, opened as package outbox/sqlite does
)

// sessionQueries are those about sessions of PostgreSQL, which read no table of
// ours.
var sessionQueries = sqldb.LoadQueries(sqlFiles, "sql", sqldb.PostgreSQL)

// What of the databases' differences the SQL files cannot hold.

// noteTimeout bounds a short write beside the transactions of messages. On
// SQLite it waits for them, handlers included.
func (in *Inbox) noteTimeout() time.Duration {
	if in.dialect == sqldb.SQLite {
		return max(probeTimeout, in.statementTimeout)
	}
	return probeTimeout
}

// connected reports whether there is a connection that can be lost. SQLite has
// none; after some errors it has rolled back by itself, and refuses to do so
// again.
func (in *Inbox) connected() bool { return in.dialect != sqldb.SQLite }

// insertClaims inserts the rows of a JSON document and returns the ids that
// were new.
func (in *Inbox) insertClaims(ctx context.Context, tx ClaimTx, document string, b bounds) (fresh []string, r receipt, err error) {
	args := []any{in.consumer, document}
	if in.dialect == sqldb.PostgreSQL {
		args = append(args, milliseconds(b.lock), milliseconds(b.idle))
	}
	query, err := in.store.Query(ctx, tx, "claim")
	if err != nil {
		return nil, r, err
	}
	result, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, r, in.store.Failed(err)
	}
	defer result.Close()
	for result.Next() {
		if in.dialect == sqldb.PostgreSQL {
			fresh, r, err = scanReceipt(result)
		} else {
			var id string
			err = result.Scan(&id)
			fresh = append(fresh, id)
		}
		if err != nil {
			return nil, r, err
		}
	}
	return fresh, r, in.store.Failed(result.Err())
}

func scanReceipt(row interface{ Scan(dest ...any) error }) (fresh []string, r receipt, err error) {
	var ids, lockTimeout, strings string
	var idles int64
	if err := row.Scan(&ids, &lockTimeout, &r.idleTimeout, &idles, &r.transaction, &strings, &r.session); err != nil {
		return nil, r, err
	}
	r.idles = time.Duration(idles) * time.Millisecond
	r.escapes = strings != "on"
	return fresh, r, json.Unmarshal([]byte(ids), &fresh)
}

// milliseconds is d as PostgreSQL takes a timeout; what is shorter is one.
func milliseconds(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}

// mark makes the transaction known again where the database has no number for
// it. SQLite keeps a savepoint for as long as the transaction.
func (t *transaction) mark(ctx context.Context) error {
	if t.in.dialect != sqldb.SQLite {
		return nil
	}
	t.savepoint = "claimed_" + rand.Text()
	_, err := t.tx.ExecContext(ctx, "SAVEPOINT "+t.savepoint)
	return err
}

// What a look at a transaction before its commit finds, beside errors of the
// database.
var (
	errReplaced  = errors.New("the transaction that holds the claims has been ended, or replaced by another")
	errUnclaimed = errors.New("claims were deleted")
	errChanged   = errors.New("the session was changed")
)

// verify looks whether the transaction is the one in which the claims were
// made, whether these are there, and whether the session is as it was.
func (t *transaction) verify(ctx context.Context) error {
	document, err := json.Marshal(t.claims.fresh)
	if err != nil {
		return err
	}
	query, err := t.in.store.Query(ctx, t.tx, "verify")
	if err != nil {
		return err
	}
	var found int
	switch t.in.dialect {
	case sqldb.SQLite:
		if _, err := t.tx.ExecContext(ctx, "RELEASE "+t.savepoint); err != nil {
			return fmt.Errorf("%w: %w", errReplaced, err)
		}
		if err := t.tx.GetContext(ctx, &found, query, t.in.consumer, string(document)); err != nil {
			return err
		}
	default:
		var now receipt
		err := t.tx.QueryRowContext(ctx, query, t.in.consumer, string(document)).
			Scan(&now.transaction, &now.session, &found)
		switch {
		case err != nil:
			return err
		case now.transaction != t.claims.transaction:
			return errReplaced
		case now.session != t.claims.session:
			return errChanged
		}
	}
	if found != len(t.claims.fresh) {
		return errUnclaimed
	}
	return nil
}

// verifyNumber is verify where the session is known to have changed, maybe to
// a role that cannot see the claims.
func (t *transaction) verifyNumber(ctx context.Context) error {
	var now string
	if err := t.tx.QueryRowContext(ctx, sessionQueries.Get("transaction")).Scan(&now); err != nil {
		return err
	}
	if now != t.claims.transaction {
		return errReplaced
	}
	return nil
}

// stray returns those of the given events whose claims were committed, although
// not by us. Where the database does not tell, that is all of them.
func (in *Inbox) stray(ctx context.Context, ids []string) []string {
	found, err := in.lookUp(context.WithoutCancel(ctx), ids)
	if err != nil {
		return ids
	}
	var committed []string
	for id := range found {
		committed = append(committed, id)
	}
	return committed
}
