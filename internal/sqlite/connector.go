package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"time"
)

// connector tries to connect for as long as the file is busy. The change to WAL,
// which the first connections to a new file make, needs it alone, and SQLite fails
// at once where two of them meet: it does not wait for the busy timeout there.
type connector struct{ driver.Connector }

// connectPause is short: the change takes milliseconds.
const connectPause = 5 * time.Millisecond

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	deadline := time.Now().Add(busyTimeout * time.Millisecond)
	tick := time.NewTicker(connectPause)
	defer tick.Stop()
	for {
		conn, err := c.Connector.Connect(ctx)
		if err == nil || !busy(err) || time.Now().After(deadline) {
			return conn, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

// busy reports whether err says that another connection has locked the file.
func busy(err error) bool {
	var e interface{ Temporary() bool }
	return errors.As(err, &e) && e.Temporary()
}
