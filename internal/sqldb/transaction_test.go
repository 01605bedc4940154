package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
)

// preparedStatements stands for GORM's PreparedStmtDB, whose BeginTx has
// another result type.
type preparedStatements struct{}

func (preparedStatements) BeginTx(context.Context, *sql.TxOptions) (any, error) { return nil, nil }

func TestRequireTransaction(t *testing.T) {
	for _, handle := range []any{nil, (*sql.Tx)(nil), new(sql.DB), new(sql.Conn), new(sqlx.DB), new(sqlx.Conn), preparedStatements{}} {
		if err := RequireTransaction(handle); !errors.Is(err, ErrNoTransaction) {
			t.Errorf("%T: %v, want ErrNoTransaction", handle, err)
		}
	}
	for _, handle := range []any{new(sql.Tx), new(sqlx.Tx)} {
		if err := RequireTransaction(handle); err != nil {
			t.Errorf("%T: %v, want nil", handle, err)
		}
	}
}
