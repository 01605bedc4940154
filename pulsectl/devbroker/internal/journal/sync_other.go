//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package journal

// syncDir does nothing: directories cannot be synced on this system, and names
// are as durable as the file system makes them.
func syncDir(string) error { return nil }
