package testenv

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Promtool runs promtool, such as Promtool(t, dir, "test", "rules", "a.yaml"), in
// a directory, and returns what it printed. The test fails if it finds something
// wrong. It uses the binary on this machine (on Debian: apt-get install
// prometheus).
func Promtool(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), prometheusBinary(t, "promtool"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("promtool %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// Prometheus starts a Prometheus for one test, with the text of its
// configuration, and returns its URL once it answers. It uses the binary on this
// machine (on Debian: apt-get install prometheus).
func Prometheus(t testing.TB, config string) (url string) {
	t.Helper()
	binary := prometheusBinary(t, "prometheus")
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	port, err := host.FreePort()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	// The shell stops it when the pipe closes, however this process ends.
	cmd := exec.Command("/bin/sh", "-c", `"$@" & read _; kill $!; wait`, "sh", binary,
		"--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=warn")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	life, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("testenv: Prometheus: %v", err)
	}
	t.Cleanup(func() {
		_ = life.Close()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("testenv: log of Prometheus:\n%s", text)
		}
	})
	url = "http://" + addr
	Eventually(t, setupLimit, "Prometheus to be ready", func() bool {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
		res, err := client.Get(url + "/-/ready")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return url
}

func prometheusBinary(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		giveUp(t, needPrometheus, fmt.Errorf("%s %w: it is not in PATH (on Debian: apt-get install prometheus)", name, protocol.ErrUnavailable))
	}
	return path
}
