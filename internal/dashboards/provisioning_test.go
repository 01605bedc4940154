package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// top is the root of the module, where docker-compose.yml is.
var top = filepath.Join("..", "..")

func TestPrometheusConfig(t *testing.T) {
	testenv.Promtool(t, observability, "check", "config", "prometheus.yml")
}

// composeService is what matters here of a service of docker-compose.yml.
type composeService struct {
	Image          string
	Profiles       []string
	Volumes, Ports []any
	Environment    map[string]string
}

func composeServices(t *testing.T) map[string]composeService {
	t.Helper()
	var file struct{ Services map[string]composeService }
	read(t, filepath.Join(top, "docker-compose.yml"), &file)
	return file.Services
}

// TestObservers holds the services of the profile observe to pinned images that
// can be replaced, to loopback, and to files that exist.
func TestObservers(t *testing.T) {
	image := regexp.MustCompile(`^\$\{PULSE_[A-Z]+_IMAGE:-[a-z/-]+:v?\d+\.\d+\.\d+\}$`)
	mounted := map[string]string{} // what is where in a container, by service and path
	var found []string
	for name, s := range composeServices(t) {
		if !slices.Contains(s.Profiles, "observe") {
			continue
		}
		found = append(found, name)
		if !image.MatchString(s.Image) {
			t.Errorf("%s: image %s", name, s.Image)
		}
		if len(s.Ports) == 0 {
			t.Errorf("%s: has no port", name)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port.(string), "127.0.0.1:") {
				t.Errorf("%s: port %s", name, port)
			}
		}
		for _, volume := range s.Volumes {
			parts := strings.Split(volume.(string), ":")
			if !strings.HasPrefix(parts[0], "./") {
				continue // not of this tree
			}
			if _, err := os.Stat(filepath.Join(top, parts[0])); err != nil || len(parts) != 3 || parts[2] != "ro" {
				t.Errorf("%s: volume %s: %v", name, volume, err)
			}
			mounted[name+" "+parts[1]] = parts[0]
		}
	}
	if slices.Sort(found); !slices.Equal(found, []string{"grafana", "jaeger", "prometheus"}) {
		t.Errorf("the profile has %q", found)
	}
	var provisioned struct {
		Providers []struct {
			Options struct{ Path string }
		}
	}
	read(t, filepath.Join(observability, "grafana", "dashboards", "pulse-events.yaml"), &provisioned)
	for _, p := range provisioned.Providers {
		if got := mounted["grafana "+p.Options.Path]; got != "./docs/observability/dashboards" {
			t.Errorf("at %s Grafana finds %q", p.Options.Path, got)
		}
	}
	if home := composeServices(t)["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]; all[filepath.Base(home)] == nil {
		t.Errorf("the home dashboard is %q", home)
	}
}

// TestPrometheusScrapesEveryService compares what Prometheus scrapes with where the
// services serve their metrics.
func TestPrometheusScrapesEveryService(t *testing.T) {
	var config struct {
		Scrapes []struct {
			Job string `yaml:"job_name"`
			DNS []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	read(t, filepath.Join(observability, "prometheus.yml"), &config)
	scraped := map[string]string{}
	for _, s := range config.Scrapes {
		for _, d := range s.DNS {
			for _, name := range d.Names {
				if !strings.HasPrefix(name, s.Job+"-") {
					t.Errorf("%s is scraped by job %s", name, s.Job)
				}
				scraped[name] = fmt.Sprintf(":%d", d.Port)
			}
		}
	}
	services := 0
	for name, s := range composeServices(t) {
		addr := s.Environment["PULSE_METRICS_ADDR"]
		if addr == "" {
			continue
		}
		services++
		if scraped[name] != addr {
			t.Errorf("%s serves metrics on %s, and is scraped on %q", name, addr, scraped[name])
		}
		if !slices.ContainsFunc(s.Ports, func(port any) bool { return strings.HasSuffix(port.(string), addr) }) {
			t.Errorf("%s does not publish the port of its metrics, %s", name, addr)
		}
	}
	if services != len(scraped) || services != 4 {
		t.Errorf("%d services serve metrics, and %d are scraped", services, len(scraped))
	}
}
