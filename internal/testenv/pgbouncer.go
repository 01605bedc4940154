package testenv

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// pgBouncerSessions is the number of server sessions that all clients share:
// few, so that each client soon gets a session that another has used.
const pgBouncerSessions = 2

// PgBouncer starts a PgBouncer in transaction mode for one test, in front of
// the server of databaseURL, and returns that URL with its address. settings
// are additional lines of its configuration. It uses the binary on this machine
// (on Debian: apt-get install pgbouncer).
func PgBouncer(t testing.TB, databaseURL string, settings ...string) string {
	t.Helper()
	binary, err := findPgBouncer()
	if err != nil {
		giveUp(t, needPgBouncer, err)
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	port, err := host.FreePort()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	dir := t.TempDir()
	password, _ := u.User.Password()
	text := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 500
query_wait_timeout = 20
%s
`, u.Hostname(), u.Port(), u.User.Username(), password, port, pgBouncerSessions, strings.Join(settings, "\n"))
	file := filepath.Join(dir, "pgbouncer.ini")
	// Readable for the user that it changes to.
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	args := []string{"-q", file}
	if os.Geteuid() == 0 { // PgBouncer refuses to run as root
		for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatalf("testenv: %v", err)
			}
		}
		args = []string{"-q", "-u", "postgres", file}
	}
	// The shell stops it when the pipe closes, however this process ends.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `"$@" & read _; kill $!; wait`, "sh", binary}, args...)...)
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
		t.Fatalf("testenv: PgBouncer: %v", err)
	}
	t.Cleanup(func() {
		_ = life.Close()
		_ = cmd.Wait()
	})
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	Eventually(t, 10*time.Second, "PgBouncer to listen", func() bool {
		conn, err := net.Dial("tcp", u.Host)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return u.String()
}

func findPgBouncer() (string, error) {
	for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("PgBouncer %w: no pgbouncer in PATH or /usr/sbin (on Debian: apt-get install pgbouncer)", protocol.ErrUnavailable)
}
