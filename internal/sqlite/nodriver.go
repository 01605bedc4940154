//go:build nosqlite

package sqlite

// built reports that the driver is not part of this program.
const built = false
