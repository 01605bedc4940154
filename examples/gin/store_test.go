package gin

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/examples/orders"
)

// The log tells of a slow statement, and of nobody's values.
func TestSlowStatementsAreLoggedWithoutValues(t *testing.T) {
	var logs strings.Builder
	log := slog.New(slog.NewJSONHandler(&logs, nil))
	db, err := openStore(Settings{DatabaseURL: sqlstore.SQLiteURL(filepath.Join(t.TempDir(), "orders.db"))}, "test", log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := orders.Schema(db.Dialect).Up(t.Context(), db.DB); err != nil {
		t.Fatal(err)
	}
	order := orders.Place(orders.Draft{CustomerID: "hunter2", Amount: 1}, "checkout-4711")
	slow := db.orm.Session(&gorm.Session{Logger: slowed{statements{log}}})
	if err := slow.Create(newOrderRow(order)).Error; err != nil {
		t.Fatal(err)
	}
	var line struct {
		Msg, Level, SQL string
		Rows            int
	}
	if err := json.Unmarshal([]byte(logs.String()), &line); err != nil {
		t.Fatalf("%v: %s", err, &logs)
	}
	if line.Msg != "slow statement" || line.Level != "WARN" || !strings.HasPrefix(line.SQL, "INSERT INTO `orders`") || line.Rows != 1 {
		t.Errorf("logged %+v", line)
	}
	if strings.Contains(logs.String(), "hunter2") {
		t.Errorf("a value is logged: %s", &logs)
	}
	logs.Reset()
	if _, ours := db.orm.Logger.(statements); !ours {
		t.Errorf("GORM logs by %T", db.orm.Logger)
	}
	if err := db.orm.Create(newOrderRow(order)).Error; err == nil || logs.Len() > 0 {
		t.Errorf("the same order again: %v; logged %s", err, &logs)
	}
	var row orderRow
	if err := db.orm.Take(&row).Error; err != nil || row.order() != order {
		t.Errorf("read %+v, %v; want %+v", row.order(), err, order)
	}
}

// slowed makes every statement a slow one.
type slowed struct{ statements }

func (s slowed) Trace(ctx context.Context, began time.Time, statement func() (string, int64), err error) {
	s.statements.Trace(ctx, began.Add(-slowStatement), statement, err)
}
