package outbox

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// holder is a session that holds locks.
type holder struct {
	PID     int     `db:"pid"`
	Name    string  `db:"name"`
	Role    string  `db:"role"`
	Address string  `db:"address"`
	State   string  `db:"state"`
	Seconds float64 `db:"seconds"`
	Message string  `db:"message"`
}

func (h holder) String() string {
	parts := []string{fmt.Sprintf("session %d", h.PID)}
	for _, part := range []struct{ word, value string }{
		{"", h.Name}, {"of ", h.Role}, {"at ", h.Address}, {"", h.State}, {"holds message ", h.Message},
	} {
		if part.value != "" {
			parts = append(parts, part.word+part.value)
		}
	}
	if h.Seconds > 0 {
		parts = append(parts, fmt.Sprintf("in a transaction for %v", time.Duration(h.Seconds*float64(time.Second)).Round(time.Second)))
	}
	return strings.Join(parts, ", ")
}

// holders describes the sessions that hold the locks a statement has waited for, as
// far as the database knows. SQLite does not.
func (r *Relay) holders(ctx context.Context, query string, args ...any) string {
	const unknown = "it is not known by whom"
	if r.outbox.dialect != sqldb.PostgreSQL {
		return unknown
	}
	var found []holder
	if err := r.read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Select(ctx, &found, query, args...) }); err != nil || len(found) == 0 {
		return unknown
	}
	texts := make([]string, len(found))
	for i, h := range found {
		texts[i] = h.String()
	}
	return strings.Join(texts, "; ")
}
