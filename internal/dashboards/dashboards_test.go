package main

//lint:file-ignore SA1019 The newer schema is read by Grafana 12 and later alone.

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// observability is where operators find all of it.
var observability = filepath.Join("..", "..", "docs", "observability")

func TestFilesAreGenerated(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(observability, "dashboards", "*.json"))
	if err != nil || len(files) != len(all) {
		t.Errorf("%d files, %v; want %d", len(files), err, len(all))
	}
	for name := range all {
		want, err := generate(name)
		if err != nil {
			t.Fatal(err)
		}
		if file(t, name) != string(want) {
			t.Errorf("%s is not what is generated; run: go run ./internal/dashboards", name)
		}
	}
}

// TestMain makes Grafana's schema know the parts that dashboards are made of:
// others it would take as they are.
func TestMain(m *testing.M) {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	os.Exit(m.Run())
}

// file returns the text of a dashboard's file.
func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(observability, "dashboards", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// check holds a dashboard to Grafana's schema, which knows every field.
func check(text string) error {
	err := new(dashboard.Dashboard).UnmarshalJSONStrict([]byte(text))
	// The SDK says that nothing is wrong with a panel by an error with an empty list.
	if list, isList := errors.AsType[cog.BuildErrors](err); isList && len(list) == 0 {
		return nil
	}
	return err
}

// parse reads a dashboard.
func parse(t *testing.T, name string) (board dashboard.Dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(file(t, name)), &board); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return board
}

func TestFilesFollowTheSchema(t *testing.T) {
	uids := map[string]string{}
	for name := range all {
		if err := check(file(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		board := parse(t, name)
		if board.Uid == nil || uids[*board.Uid] != "" {
			t.Fatalf("%s: the uid is missing, or that of another dashboard", name)
		}
		uids[*board.Uid] = name
		for _, panel := range panels(t, board) {
			if panel.Title == nil || *panel.Title == "" || panel.Description == nil || *panel.Description == "" {
				t.Errorf("%s: a panel without title or description", name)
			}
		}
	}
}

// TestSchemaKnowsEveryField puts a mistake into each part of a dashboard.
func TestSchemaKnowsEveryField(t *testing.T) {
	right := file(t, "outbox.json")
	for _, c := range []struct{ field, mistake string }{
		{`"refresh":`, `"refreshes":`},
		{`"gridPos":`, `"gridPosition":`},
		{`"fillOpacity":`, `"opacity":`},
		{`"colorMode":`, `"colourMode":`},
		{`"legendFormat":`, `"legend":`},
		{`"expr":`, `"query":`},
	} {
		wrong := strings.Replace(right, c.field, c.mistake, 1)
		if err := check(wrong); wrong == right || err == nil || !strings.Contains(err.Error(), strings.Trim(c.mistake, `":`)) {
			t.Errorf("%s in place of %s: %v", c.mistake, c.field, err)
		}
	}
}

// panels returns the panels of a dashboard, which are all but rows.
func panels(t *testing.T, board dashboard.Dashboard) (list []dashboard.Panel) {
	t.Helper()
	for _, p := range board.Panels {
		if p.Panel == nil {
			t.Fatal("a row")
		}
		list = append(list, *p.Panel)
	}
	return list
}
