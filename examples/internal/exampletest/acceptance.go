package exampletest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/asimalizada/pulse-events/examples/acceptance"
	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/auth/authtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// Acceptance runs the acceptance suite on each platform, outages included. The
// services ask who calls, and take tokens of a file and JWTs.
func (k Stack) Acceptance(t *testing.T) {
	t.Run(Bare.Name, func(t *testing.T) {
		broker := devbroker.NewTest(t)
		own := Bare
		own.Broker = func(testing.TB) string { return broker.URL() }
		target := k.startGuarded(t, own)
		target.StopBroker = func(context.Context) error { return broker.Inject(devbroker.Fault{Kind: devbroker.FaultDown}) }
		target.StartBroker = func(context.Context) error { return broker.Clear(devbroker.FaultDown) }
		acceptance.Run(t, target)
	})
	t.Run(Servers.Name, func(t *testing.T) {
		broker := testenv.RabbitMQServer(t)
		own := Servers
		own.Broker = func(testing.TB) string { return broker.URL() }
		target := k.startGuarded(t, own)
		target.StopBroker = func(context.Context) error { broker.Stop(); return nil }
		target.StartBroker = func(context.Context) error { broker.Start(); return nil }
		acceptance.Run(t, target)
	})
}

// startGuarded starts both services so that they ask who calls.
func (k Stack) startGuarded(t *testing.T, on Platform) acceptance.Target {
	t.Helper()
	readOnly := []string{auth.OrdersRead, auth.NotificationsRead}
	const customer = "acceptance-customer"
	lines := ""
	ofFile := acceptance.Tokens{
		All:        authtest.NewToken(t, &lines, auth.Token{Name: "all"}),
		ReadOnly:   authtest.NewToken(t, &lines, auth.Token{Name: "reader", Scopes: readOnly}),
		OfCustomer: authtest.NewToken(t, &lines, auth.Token{Name: "customer", Customer: customer}),
		Expired:    authtest.NewToken(t, &lines, auth.Token{Name: "expired", Expires: time.Now().Add(-time.Second)}),
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := authtest.NewKeyServer(t)
	jwts := acceptance.Tokens{
		All:        keys.Sign(nil),
		ReadOnly:   keys.Sign(jwt.MapClaims{"scope": nil, "scp": readOnly}),
		OfCustomer: keys.Sign(jwt.MapClaims{"customer": customer}),
		Expired:    keys.Sign(jwt.MapClaims{"exp": time.Now().Add(-time.Hour).Unix()}),
	}
	k.auth = func(log *slog.Logger) (*auth.Verifier, error) {
		return auth.New(auth.Config{TokensFile: path, Logger: log, JWT: &auth.JWT{
			JWKSURL: keys.URL(), Issuer: authtest.Issuer, Audience: authtest.Audience, CustomerClaim: "customer",
		}})
	}
	target := k.start(t, on).target()
	target.Tokens = []acceptance.Tokens{ofFile, jwts}
	return target
}
