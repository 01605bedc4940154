package sqldb

import (
	"errors"
	"fmt"
	"reflect"
)

// ErrNoTransaction is matched by the error about a handle that would write
// outside the caller's transaction.
var ErrNoTransaction = errors.New("not a transaction")

// RequireTransaction returns an ErrNoTransaction when handle is nil or can
// itself begin a transaction: *sql.DB, *sql.Conn, their sqlx and GORM
// relatives. What is written through such a handle commits at once, whatever
// becomes of the caller's change. The method's name decides, because wrappers
// give it results of their own. It refuses a bun.Tx as well, which begins
// savepoints and would change the statement: the *sql.Tx in it is the handle.
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
