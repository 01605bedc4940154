//go:build !nosqlite

package sqlite

import _ "github.com/ncruces/go-sqlite3/driver" // registers "sqlite3"

// built reports that the driver is part of this program.
const built = true
