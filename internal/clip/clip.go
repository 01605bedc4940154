// Package clip shortens texts of unknown origin, such as errors, to what a
// column or a header holds, and durations to what a person writes.
package clip

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Text returns s as UTF-8 without NUL, which PostgreSQL stores, cut to at most
// limit bytes at the boundary of a rune. Where it was cut, mark follows, which
// does not count.
func Text(s string, limit int, mark string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + mark
}

// Duration is d.String without the zero units at its end: 5m, not 5m0s.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
