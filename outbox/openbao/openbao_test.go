package openbao_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/asimalizada/pulse-events/internal/baotest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/openbao"
)

const (
	patience = time.Minute
	path     = "database/creds/orders"
	creds    = "GET /v1/{mount}/creds/{role}"
	renewals = "PUT /v1/sys/leases/renew"
	logins   = "PUT /v1/auth/approle/login"
)

// file writes a secret to a file.
func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func approle(t *testing.T) openbao.Login {
	return openbao.AppRole{RoleID: baotest.RoleID, SecretIDFile: file(t, baotest.SecretID)}
}

// newClient returns a Client that asks the server at every call, and its log.
func newClient(t *testing.T, server *baotest.Server, login openbao.Login) (*openbao.Client, *lines) {
	t.Helper()
	settings := api.DefaultConfig()
	settings.Address = server.URL
	client, err := api.NewClient(settings)
	if err != nil {
		t.Fatal(err)
	}
	log := new(lines)
	c, err := openbao.New(openbao.Config{API: client, Login: login, Timeout: 5 * time.Second, Freshness: time.Nanosecond, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return c, log
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// users is an engine that names its users user1, user2 and so on.
func users(ttl, whole time.Duration) baotest.Engine {
	made := 0
	return baotest.Engine{TTL: ttl, MaxTTL: whole, Make: func(int) (string, string) {
		made++
		return fmt.Sprintf("user%d", made), fmt.Sprintf("p@ss:%d", made)
	}}
}

func want(t *testing.T, s *openbao.Secret, user string) {
	t.Helper()
	got, password, err := s.Credentials(t.Context())
	if err != nil || got != user || password != "p@ss:"+strings.TrimPrefix(user, "user") {
		t.Fatalf("%q, %q, %v; want %q", got, password, err, user)
	}
}

func wantError(t *testing.T, s *openbao.Secret, text string) {
	t.Helper()
	user, password, err := s.Credentials(t.Context())
	if err == nil || user != "" || password != "" || !strings.Contains(err.Error(), text) {
		t.Fatalf("%q, %q, %v; want an error with %q", user, password, err, text)
	}
	for _, secret := range []string{baotest.SecretID, baotest.PodToken, baotest.GivenToken, "hvs.login", "p@ss"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds a secret: %v", err)
		}
	}
}

func TestLogins(t *testing.T) {
	t.Parallel()
	server := baotest.New(t)
	server.Mount(path, users(time.Hour, time.Hour))
	for about, c := range map[string]struct {
		login openbao.Login
		fault string // "" if it succeeds
	}{
		"AppRole":                   {approle(t), ""},
		"AppRole, wrong secret id":  {openbao.AppRole{RoleID: baotest.RoleID, SecretIDFile: file(t, "wrong")}, "invalid role or secret ID"},
		"AppRole, no file":          {openbao.AppRole{RoleID: baotest.RoleID, SecretIDFile: "/nowhere"}, "no such file"},
		"AppRole, empty file":       {openbao.AppRole{RoleID: baotest.RoleID, SecretIDFile: file(t, "")}, "is empty"},
		"Kubernetes":                {openbao.Kubernetes{Role: baotest.Role, TokenFile: file(t, baotest.PodToken)}, ""},
		"Kubernetes, wrong role":    {openbao.Kubernetes{Role: "other", TokenFile: file(t, baotest.PodToken)}, "permission denied"},
		"Kubernetes, another mount": {openbao.Kubernetes{Role: baotest.Role, Mount: "k8s", TokenFile: file(t, baotest.PodToken)}, "permission denied"},
		"token":                     {openbao.Token{File: file(t, baotest.GivenToken)}, ""},
		"wrong token":               {openbao.Token{File: file(t, "s.other")}, "permission denied"},
	} {
		c2, _ := newClient(t, server, c.login)
		secret := c2.Database("database", "orders")
		if c.fault != "" {
			wantError(t, secret, c.fault)
			continue
		}
		if user, password, err := secret.Credentials(t.Context()); err != nil || user == "" || password == "" {
			t.Errorf("%s: %q, %v", about, user, err)
		}
	}
	for login, fault := range map[openbao.Login]string{nil: "Login is missing", openbao.AppRole{}: "RoleID", openbao.Kubernetes{}: "Role", openbao.Token{}: "File"} {
		if _, err := openbao.New(openbao.Config{Login: login}); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%T: %v, want an error with %q", login, err, fault)
		}
	}
}

func TestKV(t *testing.T) {
	t.Parallel()
	server := baotest.New(t)
	client, log := newClient(t, server, approle(t))
	secret := client.KV("secret", "orders/database", "user", "password")
	wantError(t, secret, "nothing at this path")
	server.Put("orders/database", map[string]string{"user": "user1"})
	wantError(t, secret, `"password"`)
	server.Put("orders/database", map[string]string{"user": "user1", "password": "p@ss:1"})
	want(t, secret, "user1")
	server.Put("orders/database", map[string]string{"user": "user2", "password": "p@ss:2"})
	want(t, secret, "user2")
	server.Seal()
	want(t, secret, "user2")
	if !strings.Contains(log.String(), "going on with the credentials at hand") {
		t.Errorf("the log says %q", log)
	}
	server.Work()
	server.Put("orders/database", nil) // deleted
	wantError(t, secret, "nothing at this path")
	if n := server.Requests(logins); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	server := baotest.New(t)
	server.Mount(path, users(time.Hour, time.Hour))
	server.Mount("database/static-creds/orders", users(time.Hour, time.Hour))
	server.Mount("rabbitmq/creds/orders", users(time.Hour, time.Hour))
	client, _ := newClient(t, server, approle(t))
	for _, secret := range []*openbao.Secret{client.Database("database/", "orders"), client.StaticDatabase("database", "orders"), client.RabbitMQ("rabbitmq", "orders")} {
		url, err := secret.URL("postgres://one:5432,two:5432/orders?sslmode=disable")(t.Context())
		if err != nil || url != "postgres://user1:p%40ss%3A1@one:5432,two:5432/orders?sslmode=disable" {
			t.Errorf("%q, %v", url, err)
		}
		for _, address := range []string{"one:5432", "postgres://user@one:5432/orders"} {
			if url, err := secret.URL(address)(t.Context()); err == nil || url != "" {
				t.Errorf("%q for %q", url, address)
			}
		}
	}
}

// Each connect renews the lease. One that ends, or is gone, is followed by a new
// user, and the old one stays as long as it may.
func TestLeases(t *testing.T) {
	t.Parallel()
	server := baotest.New(t)
	server.Mount(path, users(time.Hour, 2*time.Hour))
	client, _ := newClient(t, server, approle(t))
	secret := client.Database("database", "orders")
	want(t, secret, "user1")
	want(t, secret, "user1")
	if n := server.Requests(renewals); n != 1 {
		t.Errorf("%d renewals", n)
	}
	server.RevokeLeases()
	want(t, secret, "user2")
	server.RevokeTokens()
	want(t, secret, "user3")

	// A policy that allows no new users lets the one at hand go on, and no token is
	// made for each try.
	server.Unmount(path)
	want(t, secret, "user3")
	made := server.Requests(logins)
	server.RevokeLeases()
	wantError(t, secret, "permission denied")
	wantError(t, secret, "permission denied")
	if n := server.Requests(logins) - made; n != 0 {
		t.Errorf("%d logins because a policy refuses", n)
	}

	// At the end of what the role allows, connects get a new user.
	ending := users(6*time.Second, 6*time.Second)
	server.Mount(path, ending)
	want(t, secret, "user1")
	testenv.Eventually(t, patience, "a new user", func() bool {
		user, _, err := secret.Credentials(t.Context())
		return err == nil && user == "user2"
	})

	// One that cannot be renewed is used to its end all the same.
	fixed := users(time.Hour, time.Hour)
	fixed.Fixed = true
	server.Mount(path, fixed)
	server.RevokeLeases()
	want(t, secret, "user1")
	want(t, secret, "user1")
	server.RevokeLeases()
	want(t, secret, "user2")
}

// A server that is away, or hangs, stops nobody who has a valid user, and others get
// an error soon.
func TestServerAway(t *testing.T) {
	t.Parallel()
	for about, disturb := range map[string]func(*baotest.Server){"sealed": (*baotest.Server).Seal, "hanging": (*baotest.Server).Hang} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			server := baotest.New(t)
			server.Mount(path, users(4*time.Second, time.Hour))
			client, _ := newClient(t, server, approle(t))
			secret, fresh := client.Database("database", "orders"), client.Database("database", "orders")
			want(t, secret, "user1")
			disturb(server)
			want(t, secret, "user1")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if user, _, err := fresh.Credentials(ctx); err == nil {
				t.Errorf("%q, although the server is away", user)
			}
			testenv.Eventually(t, patience, "the end of the lease", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, _, err := secret.Credentials(ctx)
				return err != nil
			})
			server.Work()
			server.Expire()
			testenv.Eventually(t, patience, "a user once the server is back", func() bool {
				user, _, err := secret.Credentials(t.Context())
				return err == nil && user == "user2"
			})
		})
	}
}

// Run keeps the token and the users of an idle service.
func TestRun(t *testing.T) {
	t.Parallel()
	server := baotest.New(t)
	server.SetTokenTTL(2*time.Second, time.Hour)
	server.Mount(path, users(2*time.Second, time.Hour))
	client, _ := newClient(t, server, approle(t))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- client.Run(ctx) }()
	secret := client.Database("database", "orders")
	want(t, secret, "user1")
	testenv.Eventually(t, patience, "renewals", func() bool {
		return server.Requests(renewals) >= 3 && server.Requests("PUT /v1/auth/token/renew-self") >= 3
	})
	server.Seal()
	sealed := server.Requests(renewals)
	testenv.Eventually(t, patience, "a renewal that fails", func() bool { return server.Requests(renewals) > sealed })
	server.Work()
	if n := server.Requests(creds); n != 1 {
		t.Errorf("%d users were made", n)
	}
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("Run ended with %v", err)
	}
	if err := client.Close(t.Context()); err != nil || server.Users() != 0 {
		t.Errorf("closed, %v: %d users", err, server.Users())
	}
	if err := client.Close(t.Context()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// When the token can be renewed no further, the next connect gets a user of a new
// token, before the server deletes those of the old one.
func TestTokenEnds(t *testing.T) {
	t.Parallel()
	server := baotest.New(t)
	server.SetTokenTTL(6*time.Second, 6*time.Second)
	server.Mount(path, users(time.Hour, time.Hour))
	client, _ := newClient(t, server, approle(t))
	secret := client.Database("database", "orders")
	want(t, secret, "user1")
	testenv.Eventually(t, patience, "a user of the next token", func() bool {
		user, _, err := secret.Credentials(t.Context())
		return err == nil && user == "user2"
	})
	if n := server.Requests(logins); n != 2 {
		t.Errorf("%d logins", n)
	}
}
