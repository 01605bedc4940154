package console

import (
	"encoding/json"
	"strings"
	"unicode"
)

// Quoted returns a path as it is typed in a shell.
func Quoted(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+=:@%", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// LogLine returns the text of a log line: of a JSON record the message and the
// error, so that an error in JSON contains no other JSON.
func LogLine(line string) string {
	var record struct{ Msg, Error string }
	if json.Unmarshal([]byte(line), &record) == nil && record.Msg != "" {
		line = strings.TrimSuffix(record.Msg+": "+record.Error, ": ")
	}
	return strings.Join(strings.Fields(line), " ")
}
