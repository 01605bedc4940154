//go:build nosqlite

package gin

import (
	"database/sql"

	"gorm.io/gorm"
)

// sqliteDialector is not called: package internal/sqlite opens nothing.
func sqliteDialector(*sql.DB) gorm.Dialector { return nil }
