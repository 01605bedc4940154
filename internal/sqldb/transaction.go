package sqldb

import (
	"errors"
	"fmt"
	"reflect"
)

// ErrNoTransaction is matched by the error about a handle that would write
// outside the caller's transaction.
var ErrNoTransaction = errors.New("not a transaction")

// RequireTransaction returns an ErrNoTransaction if handle is nil or can itself
// begin a transaction: *sql.DB, *sql.Conn, and their sqlx and GORM equivalents.
// Writes through such a handle are committed at once, whatever happens to the
// caller's change. Only the method's name is checked, because wrappers change
// its results.
func RequireTransaction(handle any) error {
	v := reflect.ValueOf(handle)
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("%w: the handle is nil; pass the transaction your change is made in", ErrNoTransaction)
	}
	if v.MethodByName("BeginTx").IsValid() {
		return fmt.Errorf("%w: %T can begin one, and so may commit each statement by itself; pass the transaction your change is made in (*sql.Tx, *sqlx.Tx, the Tx of a bun.Tx, GORM's tx.Statement.ConnPool)", ErrNoTransaction, handle)
	}
	return nil
}
