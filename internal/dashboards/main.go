// Command dashboards writes the dashboards of docs/observability/dashboards,
// which Grafana imports or is provisioned with. They are made here, of typed
// parts, so that what several panels share is written once:
//
//	go run ./internal/dashboards
//
// Its tests hold the files to what is made here and to Grafana's own schema, test
// the alerts beside them, and run every query of both on a Prometheus that has
// scraped the example services.
package main

//lint:file-ignore SA1019 The newer schema is read by Grafana 12 and later alone.

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	dir := flag.String("dir", filepath.Join("docs", "observability", "dashboards"), "where to write")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// all are the dashboards, by the name of their file.
var all = map[string]func() *dashboard.DashboardBuilder{
	"outbox.json": outboxBoard,
	"inbox.json":  inboxBoard,
	"outage.json": outageBoard,
}

func write(dir string) error {
	for name := range all {
		text, err := generate(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the text of a dashboard's file.
func generate(name string) ([]byte, error) {
	board, err := all[name]().Build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(board, "", "  ")
	return append(text, '\n'), err
}
