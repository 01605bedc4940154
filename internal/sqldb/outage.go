package sqldb

import (
	"database/sql/driver"
	"errors"
)

// Outage reports whether err says that the server as a whole does not serve:
// it shuts down or starts, takes no connection, has no disk left, or went away
// in the middle. A false answer proves nothing about connections that broke
// without a word.
func Outage(err error) bool {
	switch state := SQLState(err); state {
	case "53100", "53300", "57P01", "57P02", "57P03", "57P04", "58030":
		return true
	case "":
		return errors.Is(err, driver.ErrBadConn)
	default:
		return state[:2] == "08"
	}
}

// DataError reports whether err blames the values of a statement (SQLSTATE
// classes 22 and 23), so that the same values will fail again.
func DataError(err error) bool {
	state := SQLState(err)
	return len(state) == 5 && (state[:2] == "22" || state[:2] == "23")
}
