package gin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/outbox"
)

// store is a service's own database: one pool, on which GORM works as well.
type store struct {
	*service.Database
	orm *gorm.DB
}

func openStore(s service.Settings, name string, log *slog.Logger) (*store, error) {
	db, err := service.OpenDatabase(s, name)
	if err != nil {
		return nil, err
	}
	pool := db.DB.DB
	dialector := postgres.New(postgres.Config{Conn: pool})
	if db.Dialect == outbox.SQLite {
		dialector = sqliteDialector(pool)
	}
	orm, err := gorm.Open(dialector, &gorm.Config{
		Logger:               statements{log},
		DisableAutomaticPing: true, // the database may be away at the start
		// Transactions stand where they are meant: GORM adds none of its own.
		SkipDefaultTransaction: true,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open GORM: %w", err), db.Close())
	}
	return &store{Database: db, orm: orm}, nil
}

// slowStatement is what is worth a line in the log.
const slowStatement = time.Second

// statements is GORM's logger. It tells of slow statements, never of their
// values: those are customers' data. Errors are returned, and logged where
// they are dealt with.
type statements struct{ log *slog.Logger }

var (
	_ logger.Interface  = statements{}
	_ gorm.ParamsFilter = statements{}
)

// LogMode implements logger.Interface. The level is that of the slog handler.
func (s statements) LogMode(logger.LogLevel) logger.Interface { return s }

// Info implements logger.Interface.
func (s statements) Info(ctx context.Context, format string, args ...any) {
	s.log.InfoContext(ctx, "gorm: "+fmt.Sprintf(format, args...))
}

// Warn implements logger.Interface.
func (s statements) Warn(ctx context.Context, format string, args ...any) {
	s.log.WarnContext(ctx, "gorm: "+fmt.Sprintf(format, args...))
}

// Error implements logger.Interface.
func (s statements) Error(ctx context.Context, format string, args ...any) {
	s.log.ErrorContext(ctx, "gorm: "+fmt.Sprintf(format, args...))
}

// Trace implements logger.Interface. GORM calls it after each statement.
func (s statements) Trace(ctx context.Context, began time.Time, statement func() (sql string, rows int64), _ error) {
	took := time.Since(began)
	if took < slowStatement {
		return
	}
	sql, rows := statement()
	s.log.WarnContext(ctx, "slow statement", "sql", sql, "rows", rows, "took_ms", took.Milliseconds())
}

// ParamsFilter implements gorm.ParamsFilter: what Trace gets to see holds no values.
func (s statements) ParamsFilter(_ context.Context, sql string, _ ...any) (string, []any) {
	return sql, nil
}
