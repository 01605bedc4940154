// Package logging creates the logger of a program: JSON for machines, text for
// a person at a terminal.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/asimalizada/pulse-events/internal/correlation"
)

// Format is the format of log records.
type Format string

// The formats.
const (
	Auto Format = "auto" // text on a terminal, JSON elsewhere
	JSON Format = "json"
	Text Format = "text"
)

// ParseFormat parses a format. Empty means Auto.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return Auto, nil
	case Auto, JSON, Text:
		return f, nil
	}
	return "", fmt.Errorf("unknown format %q; have %s, %s, %s", s, Auto, JSON, Text)
}

// ParseLevel parses a level: debug, info, warn or error, in any case. Empty
// means info.
func ParseLevel(s string) (slog.Level, error) {
	if s == "" {
		return slog.LevelInfo, nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(s)); err != nil {
		return 0, fmt.Errorf("unknown level %q; have debug, info, warn, error", s)
	}
	return level, nil
}

// New returns a logger that writes to w. Records have the correlation and
// causation ids of the context they are logged with.
func New(w io.Writer, format Format, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	if format == Text || format == Auto && isTerminal(w) {
		handler = slog.NewTextHandler(w, options)
	}
	return slog.New(correlation.LogHandler(handler))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
