//go:build nosqlite

package sqlite

// built: the driver is part of this program.
const built = false
