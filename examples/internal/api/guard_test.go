package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/auth/authtest"
)

func guardWith(t *testing.T, cfg GuardConfig) (g *Guard, shop string) {
	t.Helper()
	lines := ""
	shop = authtest.NewToken(t, &lines, auth.Token{Name: "shop"})
	list, err := auth.ParseTokens(lines)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	if cfg.Verifier, err = auth.New(auth.Config{Tokens: list}); err != nil {
		t.Fatal(err)
	}
	return NewGuard(cfg), shop
}

func request(path, remote, token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if r.RemoteAddr = remote; token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func codeOf(refusal *Error) string {
	if refusal == nil {
		return ""
	}
	return refusal.Code
}

// A caller that asks too often waits; others, and probes, do not.
func TestLimits(t *testing.T) {
	g, shop := guardWith(t, GuardConfig{Limits: Limits{PerCaller: 3.0 / 3600}}) // a burst of one
	for i, c := range []struct{ path, remote, token, want string }{
		{"/orders", "192.0.2.1:1", shop, ""},
		{"/orders", "192.0.2.2:2", shop, "too_many_requests"}, // wherever it comes from
		{"/orders", "192.0.2.1:1", "", "unauthorized"},
		{"/orders", "192.0.2.1:2", "wrong", "too_many_requests"}, // guessing is slow
		{"/orders", "192.0.2.3:1", "wrong", "unauthorized"},
		{"/health/ready", "192.0.2.1:1", "", ""},
	} {
		if _, refusal := g.Enter(request(c.path, c.remote, c.token)); codeOf(refusal) != c.want {
			t.Errorf("%d: %q, want %q", i, codeOf(refusal), c.want)
		}
	}
	g, shop = guardWith(t, GuardConfig{Limits: Limits{All: 2.0 / 3600}})
	for i, want := range []string{"", "too_many_requests"} {
		_, refusal := g.Enter(request("/orders", "192.0.2.1:1", shop))
		if codeOf(refusal) != want {
			t.Fatalf("%d: %q, want %q", i, codeOf(refusal), want)
		}
		if refusal == nil {
			continue
		}
		answer := httptest.NewRecorder()
		WriteError(answer, refusal)
		if answer.Code != http.StatusTooManyRequests || answer.Header().Get("Retry-After") != "1800" ||
			answer.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(answer.Body.String(), `"status":429`) {
			t.Errorf("%d %v %s", answer.Code, answer.Header(), answer.Body)
		}
	}
}

// A bucket fills again, and a request that was refused takes nothing from it.
func TestBucketFills(t *testing.T) {
	now := time.Now()
	b := newBucket(10)
	for range 10 {
		if wait := b.take(now); wait > 0 {
			t.Fatalf("waits %v within the burst", wait)
		}
	}
	for range 100 {
		if wait := b.take(now); wait <= 0 || wait > 100*time.Millisecond {
			t.Fatalf("waits %v", wait)
		}
	}
	if wait := b.take(now.Add(100 * time.Millisecond)); wait > 0 {
		t.Errorf("waits %v although there is one again", wait)
	}
}

// However many callers there are, the memory is bounded, and those who ask are
// remembered.
func TestLimitsForgetTheOldest(t *testing.T) {
	b, now := newBuckets(1), time.Now()
	b.most = 3
	b.take("regular", now)
	for i := range 100 {
		if wait := b.take("regular", now); wait <= 0 {
			t.Fatalf("forgotten after %d others", i)
		}
		b.take(fmt.Sprint(i), now)
	}
	if len(b.byKey) != 3 || b.order.Len() != 3 {
		t.Errorf("%d callers remembered", len(b.byKey))
	}
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "[2001:db8:1:2:3::4]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80": "fe80::/64", "pipe": "pipe",
	} {
		if got := network(remote); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}

// Where a client certificate is asked for, only probes come without.
func TestClientCertificateIsRequired(t *testing.T) {
	g, shop := guardWith(t, GuardConfig{ClientCert: true})
	for about, c := range map[string]struct {
		path string
		tls  *tls.ConnectionState
		want string
	}{
		"no TLS":         {"/orders", nil, "certificate_required"},
		"no certificate": {"/orders", &tls.ConnectionState{}, "certificate_required"},
		"a certificate":  {"/orders", &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}, ""},
		"a probe":        {"/health/live", &tls.ConnectionState{}, ""},
	} {
		r := request(c.path, "192.0.2.1:1", shop)
		r.TLS = c.tls
		if _, refusal := g.Enter(r); codeOf(refusal) != c.want {
			t.Errorf("%s: %q, want %q", about, codeOf(refusal), c.want)
		}
	}
}

// A context without a caller may do nothing: a route that was mounted without
// the guard lets nobody in.
func TestNobodyMayDoNothing(t *testing.T) {
	if Require(t.Context(), auth.OrdersRead) == nil || RequireCustomer(t.Context(), "c") == nil || Sees(t.Context(), "") {
		t.Error("a caller who is not known may do something")
	}
}
