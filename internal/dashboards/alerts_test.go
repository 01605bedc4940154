package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// alert is a rule of alerts.yaml.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) (list []alert) {
	t.Helper()
	var rules struct {
		Groups []struct{ Rules []alert }
	}
	read(t, filepath.Join(observability, "alerts.yaml"), &rules)
	for _, group := range rules.Groups {
		list = append(list, group.Rules...)
	}
	if len(list) == 0 {
		t.Fatal("there are no alerts")
	}
	return list
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestAlerts(t *testing.T) {
	testenv.Promtool(t, observability, "check", "rules", "alerts.yaml")
	testenv.Promtool(t, observability, "test", "rules", "alerts_test.yaml")
}

// TestAlertsHaveTests finds for each alert a case in which it fires, and one in
// which it is quiet.
func TestAlertsHaveTests(t *testing.T) {
	var rules struct {
		Tests []struct {
			Cases []struct {
				Alert    string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	read(t, filepath.Join(observability, "alerts_test.yaml"), &rules)
	fires, everQuiet := map[string]bool{}, map[string]bool{}
	for _, test := range rules.Tests {
		fired := map[string]bool{}
		for _, c := range test.Cases {
			fired[c.Alert] = fired[c.Alert] || len(c.Expected) > 0
		}
		for name, did := range fired {
			fires[name] = fires[name] || did
			everQuiet[name] = everQuiet[name] || !did
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !everQuiet[a.Alert] {
			t.Errorf("%s: fires in a test: %v; is quiet through one: %v", a.Alert, fires[a.Alert], everQuiet[a.Alert])
		}
	}
}

var (
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped = regexp.MustCompile("[^a-z0-9 -]")
)

// TestAlertsTellWhatToDo holds every alert to a summary, a severity, a time, and
// a section of the runbook that exists.
func TestAlertsTellWhatToDo(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(string(text), -1) {
		anchors[strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	const runbook = "https://github.com/asimalizada/pulse-events/blob/main/docs/operations.md#"
	for _, a := range alerts(t) {
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		if a.For == "" || !strings.Contains(a.Annotations["summary"], "{{ $labels.job }}") {
			t.Errorf("%s: for %q, summary %q", a.Alert, a.For, a.Annotations["summary"])
		}
		anchor, found := strings.CutPrefix(a.Annotations["runbook_url"], runbook)
		if !found || !anchors[anchor] {
			t.Errorf("%s: docs/operations.md has no section for %q", a.Alert, a.Annotations["runbook_url"])
		}
	}
}
