package service

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

const (
	pgUser     = "pulse"
	pgPassword = "pulse"
)

func newLocalPostgres(ctx context.Context, dir string) (*Instance, error) {
	bin, user, err := localPostgres()
	if err != nil {
		return nil, err
	}
	port, err := host.FreePort()
	if err != nil {
		return nil, err
	}
	if err := user.makeDir(dir); err != nil {
		return nil, err
	}
	data, password := filepath.Join(dir, "data"), filepath.Join(dir, "password")
	if err := user.writeFile(password, pgPassword); err != nil {
		return nil, err
	}
	// Files of initdb need not survive a power failure; writes of tests must.
	initdb := user.command(dir, nil, filepath.Join(bin, "initdb"), "--pgdata="+data, "--no-sync",
		"--username="+pgUser, "--pwfile="+password, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
	stopInit := context.AfterFunc(ctx, func() { _ = initdb.Process.Kill() })
	defer stopInit()
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	settings := []string{"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(port),
		"unix_socket_directories=" + dir, "max_connections=300"}
	args := []string{"-D", data}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	address := pgURL("127.0.0.1", port)
	return &Instance{
		Endpoints: protocol.Endpoints{URL: address},
		machine: &processes{
			dir:       dir,
			command:   func() *exec.Cmd { return user.command(dir, nil, filepath.Join(bin, "postgres"), args...) },
			graceful:  syscall.SIGINT,
			immediate: syscall.SIGQUIT,
		},
		ready: func(ctx context.Context) error { return pgReady(ctx, address) },
	}, nil
}

func pgURL(host string, port int) string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(pgUser, pgPassword),
		Host:     net.JoinHostPort(host, strconv.Itoa(port)),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}).String()
}

func pgReady(ctx context.Context, address string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// localPostgres returns the directory of the binaries and the user to run them
// as.
func localPostgres() (string, *account, error) {
	bin, err := findPostgres()
	if err != nil {
		return "", nil, err
	}
	user, err := accountFor("postgres")
	if err != nil {
		return "", nil, fmt.Errorf("PostgreSQL %w: it refuses to run as root, and %v", protocol.ErrUnavailable, err)
	}
	return bin, user, nil
}

// findPostgres returns the directory that contains initdb and postgres, of the
// newest version if there are several.
func findPostgres() (string, error) {
	if dir := os.Getenv(protocol.PostgresBinVariable); dir != "" {
		if !executable(filepath.Join(dir, "initdb")) || !executable(filepath.Join(dir, "postgres")) {
			return "", fmt.Errorf("no initdb and postgres in %s, which %s names", dir, protocol.PostgresBinVariable)
		}
		return dir, nil
	}
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		slices.SortFunc(found, byVersion)
		slices.Reverse(found)
		dirs = append(dirs, found...)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("PostgreSQL %w: no initdb and postgres in /usr/lib/postgresql/*/bin or PATH (on Debian: apt-get install postgresql)", protocol.ErrUnavailable)
}
