package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const deployments = "../examples/relay"

// The unit and the manifests set variables that relay run reads.
func TestDeploymentsNameSettings(t *testing.T) {
	var known strings.Builder
	for _, page := range [][]string{{"relay", "run", "--help"}, {"help", "environment"}} {
		out, err := exec.Command("pulsectl", page...).Output()
		if err != nil {
			t.Fatal(err)
		}
		known.Write(out)
	}
	manifests, err := filepath.Glob(deployments + "/kubernetes/*.yaml")
	if err != nil || len(manifests) == 0 {
		t.Fatalf("%v, %v", manifests, err)
	}
	variable := regexp.MustCompile(`\bPULSE_[A-Z_]*[A-Z]\b`)
	for _, file := range append(manifests, deployments+"/pulse-relay@.service") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		named := variable.FindAllString(string(text), -1)
		if len(named) == 0 && !strings.HasSuffix(file, "secret.yaml") {
			t.Errorf("%s sets nothing", file)
		}
		for _, name := range named {
			if !regexp.MustCompile(`\b` + strings.TrimSuffix(name, "_FILE") + `\b`).MatchString(known.String()) {
				t.Errorf("%s: %s is no setting of relay run", file, name)
			}
		}
	}
}

// systemd takes the unit, where it is there to be asked.
func TestSystemdUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd here:", err)
	}
	text, err := os.ReadFile(deployments + "/pulse-relay@.service")
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/pulsectl"
	if !strings.Contains(string(text), "ExecStart="+installed+" relay run\n") {
		t.Errorf("it does not start %s relay run", installed)
	}
	unit := filepath.Join(t.TempDir(), "pulse-relay@.service")
	here := strings.ReplaceAll(string(text), installed, lookPath(t, "pulsectl"))
	if err := os.WriteFile(unit, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	// It tells of unknown settings and exits with 0.
	if out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
