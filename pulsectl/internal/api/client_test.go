package api

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// What a service refuses ends the command with the exit code of its kind, and
// says what to do.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		status int
		token  string
		code   int
		says   string
	}{
		{http.StatusUnauthorized, "", 2, "PULSE_API_TOKEN_FILE"},
		{http.StatusUnauthorized, "old", 5, "check the token"},
		{http.StatusForbidden, "t", 1, "use a token with that right"},
		{http.StatusTooManyRequests, "t", 1, "try again in 7 s"},
		{http.StatusServiceUnavailable, "t", 5, "pulsectl status"},
		{http.StatusFound, "t", 1, ""}, // the token goes nowhere else
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			want := ""
			if c.token != "" {
				want = "Bearer " + c.token
			}
			if got := r.Header.Get("Authorization"); got != want {
				t.Errorf("sends %q, want %q", got, want)
			}
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(`{"error":{"message":"why"}}`))
		}))
		client, err := New("orders service", server.URL, Access{Token: c.token})
		if err != nil {
			t.Fatal(err)
		}
		f := fail.From(client.Call(t.Context(), http.MethodGet, "/orders", nil, nil, nil))
		if f.ExitCode() != c.code || !strings.Contains(f.Hint, c.says) || !strings.Contains(f.Message, "why") {
			t.Errorf("%d: exit code %d, %q, hint %q", c.status, f.ExitCode(), f.Message, f.Hint)
		}
		server.Close()
	}
}

// A client trusts the authority it is given alone, and shows its certificate.
func TestTLS(t *testing.T) {
	servers, clients := certtest.NewAuthority(t), certtest.NewAuthority(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }))
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{servers.Issue(t, x509.ExtKeyUsageServerAuth)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients.Pool(),
	}
	server.StartTLS()
	defer server.Close()
	call := func(cfg *tls.Config) *fail.Error {
		client, err := New("orders service", server.URL, Access{TLS: cfg})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Call(t.Context(), http.MethodGet, "/orders", nil, nil, nil); err != nil {
			return fail.From(err)
		}
		return nil
	}
	if f := call(&tls.Config{RootCAs: servers.Pool(), Certificates: []tls.Certificate{clients.Issue(t, x509.ExtKeyUsageClientAuth)}}); f != nil {
		t.Error(f)
	}
	if f := call(nil); f == nil || f.ExitCode() != 5 || !strings.Contains(f.Hint, "PULSE_API_CA_FILE") {
		t.Errorf("an authority that is not known: %+v", f)
	}
	if f := call(&tls.Config{RootCAs: servers.Pool()}); f == nil || f.ExitCode() != 5 {
		t.Errorf("without a client certificate: %+v", f)
	}
}
