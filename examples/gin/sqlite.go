//go:build !nosqlite

package gin

import (
	"database/sql"

	"github.com/ncruces/go-sqlite3/gormlite"
	"gorm.io/gorm"
)

// sqliteDialector is made for the driver that package internal/sqlite brings.
func sqliteDialector(pool *sql.DB) gorm.Dialector { return gormlite.OpenDB(pool) }
