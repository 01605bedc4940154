// Package authtest serves keys and makes tokens for tests of authentication.
package authtest

import (
	"context"
	"crypto/ed25519"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/asimalizada/pulse-events/examples/auth"
)

// Issuer and Audience of the tokens, unless claims say otherwise.
const (
	Issuer   = "https://issuer.test"
	Audience = "pulse-events"
)

// KeyServer serves a JWK set, and signs tokens with its newest key.
type KeyServer struct {
	tb      testing.TB
	server  *httptest.Server
	fetches atomic.Int64

	mu   sync.Mutex
	kid  string
	key  ed25519.PrivateKey
	set  *jwkset.MemoryJWKSet
	down bool
}

// NewKeyServer starts a server with one key, which ends with the test.
func NewKeyServer(tb testing.TB) *KeyServer {
	tb.Helper()
	k := &KeyServer{tb: tb, set: jwkset.NewMemoryStorage()}
	k.Rotate("key-1")
	k.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		k.fetches.Add(1)
		k.mu.Lock()
		down := k.down
		k.mu.Unlock()
		if down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(k.JWKS()))
	}))
	tb.Cleanup(k.server.Close)
	return k
}

// URL of the JWK set.
func (k *KeyServer) URL() string { return k.server.URL }

// Fetches counts how often the keys were asked for.
func (k *KeyServer) Fetches() int64 { return k.fetches.Load() }

// SetDown makes the server fail, or answer again.
func (k *KeyServer) SetDown(down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = down
}

// Rotate adds a key, with which tokens are signed from now on.
func (k *KeyServer) Rotate(kid string) {
	k.tb.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		k.tb.Fatal(err)
	}
	jwk, err := jwkset.NewJWKFromKey(private, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, USE: jwkset.UseSig}})
	if err != nil {
		k.tb.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.set.KeyWrite(context.Background(), jwk); err != nil {
		k.tb.Fatal(err)
	}
	k.kid, k.key = kid, private
}

// Withdraw removes a key from the set.
func (k *KeyServer) Withdraw(kid string) {
	if _, err := k.set.KeyDelete(context.Background(), kid); err != nil {
		k.tb.Fatal(err)
	}
}

// JWKS returns the set with its public keys.
func (k *KeyServer) JWKS() string {
	public, err := k.set.JSONPublic(context.Background())
	if err != nil {
		k.tb.Error(err)
	}
	return string(public)
}

// Claims are those of a token that is good for everything.
func Claims() jwt.MapClaims {
	return jwt.MapClaims{
		"iss": Issuer, "aud": Audience, "sub": "test", "exp": time.Now().Add(time.Hour).Unix(),
		"scope": auth.OrdersWrite + " " + auth.OrdersRead + " " + auth.NotificationsRead, "customer": auth.AnyCustomer,
	}
}

// Sign returns a token with the claims of Claims, changed by these: nil removes
// one.
func (k *KeyServer) Sign(changes jwt.MapClaims) string {
	k.tb.Helper()
	claims := Claims()
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	k.mu.Lock()
	defer k.mu.Unlock()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
	token.Header["kid"] = k.kid
	text, err := token.SignedString(k.key)
	if err != nil {
		k.tb.Fatal(err)
	}
	return text
}

// NewToken makes a token for a file of tokens, and adds its line to lines.
func NewToken(tb testing.TB, lines *string, t auth.Token) (secret string) {
	tb.Helper()
	secret, t, err := auth.NewToken(t)
	if err != nil {
		tb.Fatal(err)
	}
	*lines += t.String() + "\n"
	return secret
}
