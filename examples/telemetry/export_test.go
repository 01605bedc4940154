package telemetry

import (
	"testing"
	"time"
)

// LimitFlush makes Shutdown wait less, until the test ends.
func LimitFlush(t *testing.T, limit time.Duration) {
	before := flushLimit
	flushLimit = limit
	t.Cleanup(func() { flushLimit = before })
}
