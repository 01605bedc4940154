package command

import (
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
)

func limitFlag() cli.Flag {
	return &cli.IntFlag{Name: "limit", Value: defaultLimit, Usage: "at most `N` rows, up to " + strconv.Itoa(maxLimit)}
}

func checkLimit(n int) error {
	if n < 1 || n > maxLimit {
		return fail.Usagef("", "--limit: %d is not between 1 and %d", n, maxLimit)
	}
	return nil
}

func timeoutFlag(value time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: "timeout", Value: value, Usage: "give up after `DURATION` with exit code 7"}
}

func sinceFlag() cli.Flag {
	return &cli.StringFlag{Name: "since", Usage: "not older than `WHEN`: a duration such as 15m, or a time in RFC 3339"}
}

// parseSince reads --since; empty gives the zero time.
func (e *Env) parseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return e.IO.Now().Add(-d), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	return time.Time{}, fail.Usagef("for example: --since 15m, --since 2026-01-31T08:00:00Z", "--since: %q is neither a duration nor a time", s)
}
