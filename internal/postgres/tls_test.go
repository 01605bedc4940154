package postgres_test

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// The parameters of the URL decide whether to encrypt and whom to trust.
func TestOpenTLS(t *testing.T) {
	server := testenv.PostgresServer(t)
	ca := certtest.NewAuthority(t)
	secure(t, server.URL(), ca)

	reach := func(params url.Values, host string) (*sqlx.DB, error) {
		t.Helper()
		u, err := url.Parse(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		u.RawQuery = params.Encode()
		if host != "" {
			u.Host = host + ":" + u.Port()
		}
		db, err := postgres.Open(postgres.Config{URL: u.String()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db, db.PingContext(t.Context())
	}
	trusted, stranger := ca.File(t), certtest.NewAuthority(t).File(t)

	db, err := reach(url.Values{"sslmode": {"verify-full"}, "sslrootcert": {trusted}}, "")
	if err != nil {
		t.Fatal(err)
	}
	var encrypted bool
	if err := db.GetContext(t.Context(), &encrypted, `SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`); err != nil || !encrypted {
		t.Errorf("the connection is encrypted: %v, %v", encrypted, err)
	}
	for _, c := range []struct {
		about  string
		params url.Values
		host   string
		says   string
	}{
		{"another authority", url.Values{"sslmode": {"verify-full"}, "sslrootcert": {stranger}}, "", "certificate"},
		{"another name", url.Values{"sslmode": {"verify-full"}, "sslrootcert": {trusted}}, "localhost", "certificate"},
	} {
		_, err := reach(c.params, c.host)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error with %q", c.about, err, c.says)
		}
	}
}

// secure makes the server use TLS. Because it reads its files under its own
// account, it writes them itself.
func secure(t *testing.T, serverURL string, ca certtest.Authority) {
	t.Helper()
	db, err := postgres.Open(postgres.Config{URL: serverURL})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cert, key := certtest.PEM(t, ca.Issue(t, x509.ExtKeyUsageServerAuth))
	for _, statement := range []string{
		writeFile("server.crt", cert), writeFile("server.key", key),
		`ALTER SYSTEM SET ssl_cert_file = 'server.crt'`,
		`ALTER SYSTEM SET ssl_key_file = 'server.key'`,
		`ALTER SYSTEM SET ssl = on`,
		`SELECT pg_reload_conf()`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%.60s: %v", statement, err)
		}
	}
	testenv.Eventually(t, 10*time.Second, "the server to take its new settings", func() bool {
		var on string
		return db.GetContext(t.Context(), &on, `SHOW ssl`) == nil && on == "on"
	})
}

// writeFile returns a statement that writes a file below the server's data
// directory, readable only by the server.
func writeFile(name string, text []byte) string {
	return fmt.Sprintf(`COPY (SELECT '%s') TO PROGRAM 'umask 077 && base64 -d > %s'`, base64.StdEncoding.EncodeToString(text), name)
}
