// Package clip shortens texts of unknown origin, such as errors, to what a
// column or a header holds.
package clip

import (
	"strings"
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
