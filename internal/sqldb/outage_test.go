package sqldb

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"
)

type stateError string

func (e stateError) Error() string    { return "SQLSTATE " + string(e) }
func (e stateError) SQLState() string { return string(e) }

func TestOutageAndDataErrorReadTheState(t *testing.T) {
	for _, c := range []struct {
		err          error
		outage, data bool
	}{
		{nil, false, false},
		{errors.New("order is unknown"), false, false},
		{fmt.Errorf("query: %w", driver.ErrBadConn), true, false},
		{stateError("08006"), true, false},
		{fmt.Errorf("query: %w", stateError("57P01")), true, false},
		{stateError("57014"), false, false}, // a statement's own time was up
		{stateError("53200"), false, false}, // one message may ask for too much memory
		{stateError("22P02"), false, true},
		{stateError("23505"), false, true},
		{stateError("40P01"), false, false},
	} {
		if got := Outage(c.err); got != c.outage {
			t.Errorf("Outage(%v) = %v", c.err, got)
		}
		if got := DataError(c.err); got != c.data {
			t.Errorf("DataError(%v) = %v", c.err, got)
		}
	}
}
