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

// Part is the part of a relay or consumer that an error concerns. It is shown where
// the error alone does not tell, as with a deadline that has passed.
type Part string

func (p Part) Error() string { return string(p) }

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
	case sqldb.Lost, sqldb.Timeout: // of what, only the part tells
		text := string(trouble) + "; see the logs"
		if part, found := errors.AsType[Part](err); found {
			text = string(part) + ": " + text
		}
		return text
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
