package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/certtest"
)

// put replaces the files of a certificate.
func (h HTTPS) put(t *testing.T, c tls.Certificate) {
	t.Helper()
	cert, key := certtest.PEM(t, c)
	for path, text := range map[string][]byte{h.Cert: cert, h.Key: key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Certificate, key and client authorities are replaced while the service runs:
// the next handshake uses them, and no file of a half-done change.
func TestHTTPSCertificatesRotate(t *testing.T) {
	first, second := certtest.NewAuthority(t), certtest.NewAuthority(t)
	clients, others := certtest.NewAuthority(t), certtest.NewAuthority(t)
	dir := t.TempDir()
	files := HTTPS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), ClientCA: clients.File(t)}
	files.put(t, first.Issue(t, x509.ExtKeyUsageServerAuth))

	loaded, err := files.open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	loaded.Every = 0
	server := newServer(Settings{ShutdownTimeout: time.Minute})
	server.tls = newTLSConfig(loaded)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- server.serve(ctx, ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(r.TLS.VerifiedChains) == 0 {
				w.WriteHeader(http.StatusForbidden)
			}
		}))
	}()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	// ask returns the status, or 0 if there was no answer.
	ask := func(server certtest.Authority, as ...tls.Certificate) int {
		transport := &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: server.Pool(), Certificates: as}}
		client := http.Client{Transport: transport, Timeout: time.Minute}
		res, err := client.Get("https://" + ln.Addr().String())
		if err != nil {
			return 0
		}
		res.Body.Close()
		transport.CloseIdleConnections()
		if res.ProtoMajor != 2 {
			t.Errorf("HTTP/%d", res.ProtoMajor)
		}
		return res.StatusCode
	}
	ours, theirs := clients.Issue(t, x509.ExtKeyUsageClientAuth), others.Issue(t, x509.ExtKeyUsageClientAuth)
	expect := func(about string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", about, got, want)
		}
	}
	expect("with a client certificate", ask(first, ours), http.StatusOK)
	expect("without", ask(first), http.StatusForbidden)
	expect("with one of another authority", ask(first, theirs), 0)
	expect("another server", ask(second, ours), 0)

	next := second.Issue(t, x509.ExtKeyUsageServerAuth)
	cert, _ := certtest.PEM(t, next)
	if err := os.WriteFile(files.Cert, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	expect("half changed", ask(first, ours), http.StatusOK)
	files.put(t, next)
	expect("changed", ask(second, ours), http.StatusOK)
	expect("the old one", ask(first, ours), 0)

	text, err := os.ReadFile(others.File(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files.ClientCA, text, 0o600); err != nil {
		t.Fatal(err)
	}
	expect("another authority of clients", ask(second, theirs), http.StatusOK)
	expect("a withdrawn one", ask(second, ours), 0)
}

func TestHTTPSNamesItsProblems(t *testing.T) {
	a := certtest.NewAuthority(t)
	cert, key := certtest.Files(t, a.Issue(t, x509.ExtKeyUsageServerAuth))
	_, otherKey := certtest.Files(t, a.Issue(t, x509.ExtKeyUsageServerAuth))
	for want, h := range map[string]HTTPS{
		"both needed":           {Cert: cert},
		"no such file":          {Cert: cert, Key: key + "x"},
		"does not match":        {Cert: cert, Key: otherKey},
		"holds no PEM":          {Cert: cert, Key: key, ClientCA: key},
		"are both needed for H": {ClientCA: cert},
	} {
		if _, err := h.open(slog.Default()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
