package sqldb

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"syscall"
)

// Trouble is the meaning of a database error for whoever has to react to it.
// Both libraries, the services and their health answers use it. Its text is
// safe to publish: it names no host, user or table.
type Trouble string

// The kinds of trouble.
const (
	// NoTrouble: there is no error.
	NoTrouble Trouble = ""
	// Outage: the database cannot be used for now. It is down, starts, stops or
	// recovers, has no connection or memory left, or cannot read its files.
	Outage Trouble = "outage"
	// Full: an outage, because the disk is full. What needs no room still works.
	Full Trouble = "disk full"
	// Lost: a connection broke without an error of the database. In the error
	// of a handler it may be another service's, because drivers pass network
	// errors on; and pgx also returns driver.ErrBadConn if rows were left open.
	// So check the transaction's connection.
	Lost Trouble = "connection lost"
	// ReadOnly: the session works but cannot write: the server is a standby or
	// has become one, or the SQLite file is read-only. The next connection may
	// reach the right server.
	ReadOnly Trouble = "read-only"
	// Refused: credentials, certificates, privileges or the database's name are
	// wrong. Somebody has to act, or has acted and this session is older.
	Refused Trouble = "access refused"
	// Pooled: the session lacks the prepared statements of the driver, because
	// a pooler has replaced it, or a handler has discarded them. See ErrPooler.
	Pooled Trouble = "pooled session"
	// SchemaBehind: a table, a column or the schema is missing. For a handler's
	// statement it is the handler's fault.
	SchemaBehind Trouble = "schema"
	// Transient: the database ended the transaction for internal reasons, and
	// it can be run again from its start: deadlock, serialization failure, lock
	// timeout, internal error, busy SQLite file.
	Transient Trouble = "transient"
	// Timeout: a deadline has passed, or a statement was cancelled. The cause
	// depends on whose deadline it was.
	Timeout Trouble = "timeout"
	// Idled: the server ended a session whose transaction was idle, or open,
	// for too long: the fault of the transaction's owner.
	Idled Trouble = "idle transaction"
	// BadData: the same values will fail again.
	BadData Trouble = "data"
	// BadStatement: any other error of the database. The sender of the
	// statement is at fault, also for continuing after an error (25P02).
	BadStatement Trouble = "statement"
	// Foreign: the error is not a database's.
	Foreign Trouble = "other"
)

// Away reports whether every use of the database would fail in the same way, so
// that no message is at fault and no attempt is counted. Lost is not included,
// because it may be another service's.
func (t Trouble) Away() bool {
	switch t {
	case Outage, Full, ReadOnly, Refused, Pooled:
		return true
	}
	return false
}

// GiveUp reports whether the connection that returned the error must not be
// used again, although it may still work. See Release.
func (t Trouble) GiveUp() bool {
	switch t {
	case Lost, ReadOnly, Refused, Pooled, Idled:
		return true
	}
	return false
}

// Judge classifies an error of any driver. It never guesses from the text of an
// error that is not a database's.
func Judge(err error) Trouble {
	if err == nil {
		return NoTrouble
	}
	switch {
	case errors.Is(err, ErrSchema):
		return SchemaBehind
	case errors.Is(err, ErrGiveUp):
		return Lost
	}
	if e := stateError(err); e != nil {
		return judgeState(e)
	}
	if e := SQLiteError(err); e != nil {
		return judgeSQLite(e)
	}
	switch {
	case untrusted(err):
		return Refused
	case errors.Is(err, ErrNotConnected), find(err, isConnectError) != nil:
		return Outage
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case broken(err):
		return Lost
	}
	return Foreign
}

// Unavailable reports whether err says that the database cannot serve the
// statement now, rather than that the statement or its values are wrong.
func Unavailable(err error) bool {
	switch trouble := Judge(err); trouble {
	case Lost, Timeout, Transient, Idled, SchemaBehind:
		return true
	default:
		return trouble.Away()
	}
}

// Unanswered reports whether err means that the database did not answer, but
// will again without intervention: no working connection to PostgreSQL, a
// connection to a standby, or a SQLite file locked by others for longer than a
// transaction waits. It is also true for a context whose deadline passed, and
// false if somebody has to act, as for wrong credentials.
func Unanswered(err error) bool {
	switch Judge(err) {
	case Transient, Timeout, Lost:
		return true
	case Outage, Full, ReadOnly:
		return SQLiteError(err) == nil // a file does not recover by itself
	}
	return false
}

// ErrNotConnected is matched by connection errors of pools opened by this
// project: an outage, unless the error says otherwise.
var ErrNotConnected = errors.New("no connection to the database")

// Disconnected reports whether err says that the server or the network has
// closed the connection, as opposed to a failure to get one. See Lost: in a
// handler's error it may be about another service.
func Disconnected(err error) bool {
	if find(err, isConnectError) != nil || errors.Is(err, ErrNotConnected) {
		return false
	}
	switch state := SQLState(err); state {
	case "57P01", "57P02", "57P05": // shutdown by an administrator, after a crash, of an idle session
		return true
	default:
		return strings.HasPrefix(state, "08") || Judge(err) == Lost
	}
}

// Retryable reports whether the database itself ended the transaction and it
// can be run again from its start.
func Retryable(err error) bool { return Judge(err) == Transient }

// ErrPooler is matched by errors of a session that lacks the prepared
// statements of the driver, or that a pooler does not open at all.
var ErrPooler = errors.New("there is a connection pooler in transaction mode, or something has discarded the session's prepared statements; " +
	"behind PgBouncer in transaction mode connect with default_query_exec_mode=exec (pgx), " +
	"or with binary_parameters=yes and ignore_startup_parameters = extra_float_digits in pgbouncer.ini (lib/pq)")

func judgeState(e stater) Trouble {
	state := e.SQLState()
	switch state {
	case "25006": // read_only_sql_transaction
		return ReadOnly
	case "42501": // insufficient_privilege
		if routine(e) == "ExecWithCheckOptions" { // the row violates a policy
			return BadData
		}
		return Refused
	case "42P01", "42703", "3F000":
		return SchemaBehind
	case "26000", "42P05": // a prepared statement that does not exist, or already exists
		return Pooled
	case "08P01": // protocol_violation; PgBouncer uses it for every error
		if routine(e) == "exec_bind_message" || mentions(e, "unsupported startup parameter") {
			return Pooled
		}
		return Outage
	case "0A000": // feature_not_supported
		switch routine(e) {
		case "RevalidateCachedQuery": // the table has changed under a prepared statement
			return Transient
		case "call_bool_check_hook": // a standby's answer to BEGIN READ WRITE, which lib/pq sends
			return ReadOnly
		}
		return BadStatement
	case "53100": // disk_full
		return Full
	case "57014": // query_canceled
		return Timeout
	case "25P03", "25P04": // idle_in_transaction_session_timeout, transaction_timeout
		return Idled
	case "55P03", "XX000": // lock_not_available, internal_error
		return Transient
	case "40002": // transaction_integrity_constraint_violation
		return BadData
	}
	switch state[:min(2, len(state))] {
	case "08", "53", "57", "58", "F0", "XX": // connection, resources, operator, system, configuration, corruption
		return Outage
	case "28", "3D": // authorization, no such database
		return Refused
	case "40", "72": // rollback, snapshot too old
		return Transient
	case "22", "23", "44", "54": // data, constraint, check option, program limit
		return BadData
	}
	return BadStatement
}

func judgeSQLite(err error) Trouble {
	switch {
	case mentions(err, "is locked", "SQLITE_BUSY", "schema has changed", "locking protocol"):
		return Transient
	case mentions(err, "interrupted"):
		return Timeout
	case mentions(err, "readonly database"):
		return ReadOnly
	case mentions(err, "access permission denied", "authorization denied", "not authorized"):
		return Refused
	case mentions(err, "database or disk is full"):
		return Full
	case mentions(err, "disk I/O error", "unable to open database file",
		"database disk image is malformed", "file is not a database", "out of memory"):
		return Outage
	case mentions(err, "constraint failed", "datatype mismatch", "string or blob too big"):
		return BadData
	case mentions(err, missingInSQLite...):
		return SchemaBehind
	}
	return BadStatement
}

// stater is an error of PostgreSQL from one of its drivers.
type stater interface {
	error
	SQLState() string
}

func stateError(err error) stater {
	if e, ok := errors.AsType[stater](err); ok && e.SQLState() != "" {
		return e
	}
	return nil
}

// routine returns the name of the server function that raised err, which is
// more precise than the text and the same in every language. Drivers have it in
// a field of that name.
func routine(err error) string {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct {
		return ""
	}
	if field := v.FieldByName("Routine"); field.IsValid() && field.Kind() == reflect.String {
		return field.String()
	}
	return ""
}

// SQLiteError returns the error of a SQLite driver inside err, or nil. Drivers
// have no method in common, so it goes by the name of their package: a
// handler's own error about a full disk is not one.
func SQLiteError(err error) error {
	return find(err, func(e error) bool { return strings.HasPrefix(typeName(e), "sqlite") })
}

// isConnectError recognises pgx's connection error, which does not expose its
// cause. The core packages must not import a driver.
func isConnectError(err error) bool { return typeName(err) == "pgconn.ConnectError" }

func typeName(err error) string { return strings.TrimLeft(fmt.Sprintf("%T", err), "*") }

// find returns the first error in err's tree for which is returns true.
func find(err error, is func(error) bool) error {
	if err == nil || is(err) {
		return err
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return find(e.Unwrap(), is)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if found := find(inner, is); found != nil {
				return found
			}
		}
	}
	return nil
}

// untrusted reports whether err is about a certificate: the server does not
// accept the client's, or the client does not accept the server's.
func untrusted(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" // an alert, as reported by package tls
}

// broken reports whether err is a network error. A net.Error is not enough:
// every error of the operating system is one.
func broken(err error) bool {
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	for _, e := range []error{
		driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return find(err, isConnClosed) != nil
}

// isConnClosed recognises pgx's error for a connection that it has closed
// itself.
func isConnClosed(err error) bool {
	return typeName(err) == "pgconn.connLockError" && err.Error() == "conn closed"
}
