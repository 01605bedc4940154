// Package errorgroup tells which error texts say the same: those that differ in
// numbers, ids, times and quoted parts alone.
package errorgroup

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/clip"
)

// What takes the place of a part that differs from one error to the next.
const (
	number = "<n>"
	id     = "<id>"
	quoted = "…"
)

// maxLength bounds what Normalise returns, in bytes.
const maxLength = 400

// Normalise returns text with its numbers, ids, times, addresses and quoted parts
// replaced by signs, on one line: errors with the same result form a group. A
// SQLSTATE is kept, since it tells errors apart.
func Normalise(text string) string {
	var out strings.Builder
	previous := "" // the word before
	before := ' '  // the rune before
	for len(text) > 0 && out.Len() < maxLength {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case unicode.IsSpace(r):
			if before != ' ' {
				out.WriteByte(' ')
			}
			r = ' '
		case closing(r) != 0 && !word(before):
			if inner := enclosed(text[size:], closing(r)); inner >= 0 {
				end := closing(r)
				out.WriteRune(r)
				out.WriteString(quoted)
				out.WriteRune(end)
				size += inner + utf8.RuneLen(end)
				r = end
			} else {
				out.WriteRune(r)
			}
		case word(r):
			size = token(text)
			whole := text[:size]
			if previous == "SQLSTATE" {
				out.WriteString(whole)
			} else {
				out.WriteString(fold(whole))
			}
			previous = whole
			r = 'x'
		default:
			out.WriteRune(r)
		}
		before = r
		text = text[size:]
	}
	return clip.Text(strings.TrimSpace(out.String()), maxLength-len(quoted), quoted)
}

// closing returns the sign that ends a quotation which begins with r; 0: none does.
func closing(r rune) rune {
	switch r {
	case '"', '\'', '`':
		return r
	case '“':
		return '”'
	case '«':
		return '»'
	}
	return 0
}

// enclosed returns how many bytes of text come before the sign that ends the
// quotation; negative: it does not end. An apostrophe within a word is none.
func enclosed(text string, end rune) int {
	escaped := false
	for i, r := range text {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == '\n':
			return -1
		case r == end:
			next, _ := utf8.DecodeRuneInString(text[i+utf8.RuneLen(r):])
			if !word(next) {
				return i
			}
		}
	}
	return -1
}

func word(r rune) bool {
	return r != utf8.RuneError && (r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r))
}

// joins reports whether r, between two parts of a token, joins them: as in a
// UUID, a time, an address.
func joins(r rune) bool { return strings.ContainsRune("-.:+@,", r) }

// token returns the length of the token at the beginning of text.
func token(text string) int {
	end := 0
	for i, r := range text {
		if word(r) {
			end = i + utf8.RuneLen(r)
			continue
		}
		if !joins(r) || i != end {
			break
		}
	}
	return end
}

// fold replaces what is particular in a token.
func fold(whole string) string {
	if strings.Contains(whole, "@") {
		return id
	}
	if !strings.ContainsFunc(whole, unicode.IsDigit) {
		return whole
	}
	if _, err := uuid.Parse(whole); err == nil {
		return id
	}
	var out strings.Builder
	part := 0
	for i, r := range whole {
		if joins(r) {
			out.WriteString(foldPart(whole[part:i]))
			out.WriteRune(r)
			part = i + utf8.RuneLen(r)
		}
	}
	out.WriteString(foldPart(whole[part:]))
	if folded := out.String(); !strings.HasPrefix(folded, number) || strings.Contains(folded, id) {
		return folded
	}
	return number // a number with its fraction, a time, an address, 12ms
}

// Parts with a digit that are at least this long are ids.
const (
	shortestHex = 8
	shortestID  = 16
)

func foldPart(part string) string {
	digits, hex := 0, true
	for _, r := range part {
		if unicode.IsDigit(r) {
			digits++
		} else if !strings.ContainsRune("abcdefABCDEF", r) {
			hex = false
		}
	}
	first, _ := utf8.DecodeRuneInString(part)
	switch {
	case digits == 0:
		return part
	case digits == len(part):
		return number
	case hex && len(part) >= shortestHex, len(part) >= shortestID:
		return id
	case unicode.IsDigit(first):
		return number
	}
	var out strings.Builder
	inside := false
	for _, r := range part {
		if unicode.IsDigit(r) {
			if !inside {
				out.WriteString(number)
			}
			inside = true
			continue
		}
		inside = false
		out.WriteRune(r)
	}
	return out.String()
}
