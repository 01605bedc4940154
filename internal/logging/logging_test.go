package logging_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/asimalizada/pulse-events/internal/correlation"
	"github.com/asimalizada/pulse-events/internal/logging"
)

func TestNewJSON(t *testing.T) {
	var out bytes.Buffer
	ctx := correlation.WithCorrelationID(t.Context(), "c-1")
	log := logging.New(&out, logging.Auto, slog.LevelInfo)
	log.DebugContext(ctx, "unheard")
	log.InfoContext(ctx, "heard")
	var record map[string]any
	if err := json.Unmarshal(out.Bytes(), &record); err != nil {
		t.Fatalf("%s: %v", &out, err)
	}
	if record["msg"] != "heard" || record["correlation_id"] != "c-1" {
		t.Errorf("record %v", record)
	}
}

func TestNewTerminal(t *testing.T) {
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Skipf("needs a pseudo-terminal: %v", err)
	}
	defer terminal.Close()
	defer tty.Close()
	logging.New(tty, logging.Auto, slog.LevelInfo).Info("hello")
	line := make([]byte, 256)
	n, err := terminal.Read(line)
	if err != nil || !strings.Contains(string(line[:n]), "msg=hello") {
		t.Errorf("a terminal reads %q, %v", line[:n], err)
	}
}

func TestParseFormatAndLevel(t *testing.T) {
	if f, err := logging.ParseFormat(""); f != logging.Auto || err != nil {
		t.Errorf("no format: %q, %v", f, err)
	}
	if _, err := logging.ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), "json") {
		t.Errorf("unknown format: %v", err)
	}
	if l, err := logging.ParseLevel("WARN"); l != slog.LevelWarn || err != nil {
		t.Errorf("WARN: %v, %v", l, err)
	}
	if l, err := logging.ParseLevel(""); l != slog.LevelInfo || err != nil {
		t.Errorf("no level: %v, %v", l, err)
	}
	if _, err := logging.ParseLevel("loud"); err == nil || !strings.Contains(err.Error(), "debug") {
		t.Errorf("unknown level: %v", err)
	}
}
