package health

import (
	"errors"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Public is an error whose text may be shown to anyone: it names a kind of
// problem but no address, user, table or value.
type Public string

func (p Public) Error() string { return string(p) }

// maxText limits the shown text of an error, in bytes.
const maxText = 200

// Text returns the kind of an error without what belongs only in logs:
// addresses, names, statements. It consists of the Public errors in the error's
// tree, or the kind of trouble with the database.
func Text(err error) string {
	var kinds []string
	collect(err, &kinds)
	if len(kinds) > 0 {
		text := strings.Join(kinds, ": ")
		return text[:min(len(text), maxText)]
	}
	switch trouble := sqldb.Judge(err); trouble {
	case sqldb.Foreign:
		return "see the logs"
	case sqldb.Lost, sqldb.Timeout: // the cause is unknown
		return string(trouble) + "; see the logs"
	default:
		return "database: " + string(trouble)
	}
}

// collect adds the Public errors in err's tree, each once, from the outside in.
func collect(err error, to *[]string) {
	if err == nil {
		return
	}
	switch e := err.(type) {
	case Public:
		if !slices.Contains(*to, string(e)) {
			*to = append(*to, string(e))
		}
	case interface{ Unwrap() error }:
		collect(e.Unwrap(), to)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			collect(inner, to)
		}
	case interface{ As(any) bool }: // hides its wrapped error, like a text with a secret
		if inner, ok := errors.AsType[Public](err); ok {
			collect(inner, to)
		}
	}
}
