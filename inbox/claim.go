package inbox

import (
	"context"
	"database/sql"
	"fmt"
)

// ClaimTx is a transaction as far as Claim needs it: *sql.Tx, *sqlx.Tx, GORM's
// tx.Statement.ConnPool inside a transaction.
type ClaimTx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ConflictError says that an event id was applied with another payload.
type ConflictError struct {
	Consumer string
	EventID  string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("event %s was applied by %s with another payload", e.EventID, e.Consumer)
}

// Is makes errors.Is(err, ErrConflict) hold.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }
