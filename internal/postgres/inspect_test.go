package postgres_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestBehindPooler(t *testing.T) {
	direct := testenv.Postgres(t)
	for url, want := range map[string]bool{direct: false, testenv.PgBouncer(t, direct): true} {
		if got, err := postgres.BehindPooler(t.Context(), open(t, postgres.Config{URL: url})); got != want || err != nil {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	}
}

// behindTLS returns the URL of a front before the server that speaks TLS as
// PostgreSQL does: on request, in the same connection.
func behindTLS(t *testing.T, server string, cert tls.Certificate) string {
	t.Helper()
	target := ""
	change(t, server, func(u *url.URL) { target = u.Host })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	serve := func(client net.Conn) {
		defer client.Close()
		request := make([]byte, 8) // SSLRequest
		if _, err := io.ReadFull(client, request); err != nil {
			return
		}
		if _, err := client.Write([]byte("S")); err != nil {
			return
		}
		secure := tls.Server(client, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		below, err := net.Dial("tcp", target)
		if err != nil {
			return
		}
		defer below.Close()
		var back sync.WaitGroup
		back.Go(func() {
			_, _ = io.Copy(secure, below)
			_ = client.Close()
		})
		_, _ = io.Copy(below, secure)
		_ = below.Close()
		back.Wait()
	}
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(client) })
		}
	})
	return change(t, server, func(u *url.URL) {
		q := u.Query()
		q.Set("sslmode", "require")
		u.Host, u.RawQuery = listener.Addr().String(), q.Encode()
	})
}

func TestCertificates(t *testing.T) {
	direct := testenv.Postgres(t)
	if _, _, err := postgres.Certificates(t.Context(), open(t, postgres.Config{URL: direct})); !errors.Is(err, postgres.ErrNoTLS) {
		t.Errorf("without TLS: %v", err)
	}
	ca := certtest.NewAuthority(t)
	front := behindTLS(t, direct, ca.Issue(t, x509.ExtKeyUsageServerAuth))
	db := open(t, postgres.Config{URL: front})
	server, client, err := postgres.Certificates(t.Context(), db)
	if err != nil || len(server) != 1 || server[0].Subject.CommonName != certtest.ServerName || len(client) != 0 {
		t.Errorf("%v, %v, %v", server, client, err)
	}
	certFile, keyFile := certtest.Files(t, ca.Issue(t, x509.ExtKeyUsageClientAuth))
	own := open(t, postgres.Config{URL: change(t, front, func(u *url.URL) {
		q := u.Query()
		q.Set("sslcert", certFile)
		q.Set("sslkey", keyFile)
		u.RawQuery = q.Encode()
	})})
	if _, client, err = postgres.Certificates(t.Context(), own); err != nil || len(client) != 1 {
		t.Errorf("of the client: %v, %v", client, err)
	}
	_ = db.Close()
	_ = own.Close()
}
