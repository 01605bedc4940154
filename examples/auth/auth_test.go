package auth_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/auth/authtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var silent = slog.New(slog.DiscardHandler)

func verifier(t *testing.T, cfg auth.Config) *auth.Verifier {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = silent
	}
	v, err := auth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	auth.LookAtFilesAtOnce(v)
	return v
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A line says all that NewToken was told, and nothing of the secret.
func TestTokenLine(t *testing.T) {
	for _, want := range []auth.Token{
		{Name: "shop"},
		{Name: "app-17", Scopes: []string{auth.OrdersRead}, Customer: "customer-17", Expires: time.Date(2100, 1, 31, 8, 0, 0, 0, time.UTC)},
	} {
		lines := "# tokens\n\n"
		secret := authtest.NewToken(t, &lines, want)
		if strings.Contains(lines, strings.TrimPrefix(secret, auth.Prefix)) {
			t.Errorf("the line tells the secret: %s", lines)
		}
		list, err := auth.ParseTokens(lines)
		if err != nil || len(list) != 1 {
			t.Fatalf("%q: %v", lines, err)
		}
		got := list[0]
		if want.Scopes == nil {
			want.Scopes, want.Customer = auth.Scopes(), auth.AnyCustomer
		}
		if got.Name != want.Name || !slices.Equal(got.Scopes, want.Scopes) || got.Customer != want.Customer || !got.Expires.Equal(want.Expires) {
			t.Errorf("%+v, want %+v", got, want)
		}
		c, err := verifier(t, auth.Config{Tokens: list}).Verify(t.Context(), secret)
		if err != nil || c.Name != want.Name || c.Customer != want.Customer || c.May(auth.OrdersWrite) != slices.Contains(want.Scopes, auth.OrdersWrite) {
			t.Errorf("%+v, %v", c, err)
		}
	}
}

func TestBadLines(t *testing.T) {
	good := ""
	authtest.NewToken(t, &good, auth.Token{Name: "shop"})
	good = strings.TrimSpace(good)
	hash := strings.Fields(good)[1]
	for about, c := range map[string][2]string{
		"empty":             {"# nothing\n", "no token"},
		"the secret itself": {"shop hunter2 scopes=orders:read", "line 1: the second word is not sha256:"},
		"short hash":        {"shop sha256:abcd scopes=orders:read", "line 1: the second word is not sha256:"},
		"no scopes":         {"shop " + hash + " customer=c", "line 1: scopes: is missing"},
		"unknown scope":     {"shop " + hash + " scopes=orders:rule", `unknown scope "orders:rule"`},
		"unknown field":     {"shop " + hash + " scopes=orders:read hunter2=1", "line 1: unknown field"},
		"bad time":          {"shop " + hash + " scopes=orders:read expires=tomorrow", "line 1: expires"},
		"twice a field":     {"shop " + hash + " scopes=orders:read scopes=orders:write", "given twice"},
		"no customer":       {"shop " + hash + " scopes=orders:read customer=", "line 1: customer"},
		"twice a name":      {good + "\n" + strings.Replace(good, "sha256:", "sha256:00", 1)[:len(good)], "line 2"},
		"twice a hash":      {good + "\nother " + strings.TrimPrefix(good, "shop "), "line 2: the hash"},
	} {
		_, err := auth.ParseTokens(c[0])
		if err == nil || !strings.Contains(err.Error(), c[1]) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", about, err, c[1])
		}
	}
}

// A token is good from when its line is there until the line goes or expires; a
// mistake in the file shuts out nobody.
func TestTokensAreReloaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	first, second := "", ""
	old := authtest.NewToken(t, &first, auth.Token{Name: "old"})
	fresh := authtest.NewToken(t, &second, auth.Token{Name: "new"})
	write(t, path, first)
	var logs strings.Builder
	v := verifier(t, auth.Config{TokensFile: path, Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	good := func(token string) bool {
		_, err := v.Verify(t.Context(), token)
		return err == nil
	}
	for _, step := range []struct {
		about      string
		text       string
		old, fresh bool
		logs       string
	}{
		{"one", first, true, false, ""},
		{"both", first + second, true, true, "has changed"},
		{"a mistake", first + "nonsense\n", true, true, "line 2"},
		{"half written", "", true, true, "holds no token"},
		{"the new one", second, false, true, "has changed"},
	} {
		write(t, path, step.text)
		logs.Reset()
		if good(old) != step.old || good(fresh) != step.fresh {
			t.Errorf("%s: old %v, new %v", step.about, good(old), good(fresh))
		}
		if !strings.Contains(logs.String(), step.logs) || strings.Count(logs.String(), "\n") > 1 {
			t.Errorf("%s: logs %q, want one line with %q", step.about, &logs, step.logs)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !good(fresh) {
		t.Error("a missing file shuts out everybody")
	}
}

func TestTokensThatAreNone(t *testing.T) {
	lines := ""
	secret := authtest.NewToken(t, &lines, auth.Token{Name: "shop"})
	expired := authtest.NewToken(t, &lines, auth.Token{Name: "expired", Expires: time.Now()})
	list, err := auth.ParseTokens(lines)
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, auth.Config{Tokens: list})
	for _, token := range []string{"", "x", secret[:len(secret)-1], secret + "x", strings.ToLower(secret), expired, "a.b.c", strings.Repeat("x", 1<<20)} {
		if c, err := v.Verify(t.Context(), token); err == nil || c.May(auth.OrdersRead) || strings.Contains(err.Error(), secret) {
			t.Errorf("%.40q: %+v, %v", token, c, err)
		}
	}
}

func jwtConfig(k *authtest.KeyServer) auth.Config {
	return auth.Config{JWT: &auth.JWT{JWKSURL: k.URL(), Issuer: authtest.Issuer, Audience: authtest.Audience, CustomerClaim: "customer", UnknownKeyInterval: time.Hour}}
}

func TestJWT(t *testing.T) {
	k := authtest.NewKeyServer(t)
	stranger := authtest.NewKeyServer(t) // its key has the same id
	v := verifier(t, jwtConfig(k))
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	symmetric, err := jwt.NewWithClaims(jwt.SigningMethodHS256, authtest.Claims()).SignedString([]byte(k.JWKS()))
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, authtest.Claims()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for about, c := range map[string]struct {
		token string
		want  string // empty: it is good
	}{
		"good":                       {k.Sign(nil), ""},
		"several audiences":          {k.Sign(jwt.MapClaims{"aud": []string{"other", authtest.Audience}}), ""},
		"expired, within skew":       {k.Sign(jwt.MapClaims{"exp": at(-10 * time.Second)}), ""},
		"not yet, within skew":       {k.Sign(jwt.MapClaims{"nbf": at(10 * time.Second)}), ""},
		"expired":                    {k.Sign(jwt.MapClaims{"exp": at(-time.Minute)}), "expired"},
		"without expiry":             {k.Sign(jwt.MapClaims{"exp": nil}), "exp claim is required"},
		"not yet":                    {k.Sign(jwt.MapClaims{"nbf": at(time.Hour)}), "not valid yet"},
		"issued to come":             {k.Sign(jwt.MapClaims{"iat": at(time.Hour)}), "before issued"},
		"another issuer":             {k.Sign(jwt.MapClaims{"iss": "https://evil.test"}), "issuer"},
		"no issuer":                  {k.Sign(jwt.MapClaims{"iss": nil}), "iss"},
		"another audience":           {k.Sign(jwt.MapClaims{"aud": "other"}), "audience"},
		"no subject":                 {k.Sign(jwt.MapClaims{"sub": nil}), "subject"},
		"a subject for logs":         {k.Sign(jwt.MapClaims{"sub": "a\nlevel=ERROR"}), "subject"},
		"no customer":                {k.Sign(jwt.MapClaims{"customer": nil}), "customer"},
		"a stranger's key":           {stranger.Sign(nil), "signature"},
		"the public key as a secret": {symmetric, "signing method"},
		"no signature":               {unsigned, "signing method"},
		"cut":                        {k.Sign(nil)[:60] + ".x.y", ""},
		"dots":                       {"..", "malformed"},
	} {
		caller, err := v.Verify(t.Context(), c.token)
		if about == "cut" {
			c.want = "token"
		}
		if c.want == "" && (err != nil || caller.Name != "test" || !caller.May(auth.OrdersWrite) || caller.Customer != auth.AnyCustomer) {
			t.Errorf("%s: %+v, %v", about, caller, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || caller.May(auth.OrdersRead)) {
			t.Errorf("%s: %v, want %q", about, err, c.want)
		}
	}
	c, err := v.Verify(t.Context(), k.Sign(jwt.MapClaims{"scope": "openid orders:read", "scp": []string{"notifications:read", "admin"}, "customer": 17}))
	if err != nil || !slices.Equal(c.Scopes, []string{auth.OrdersRead, auth.NotificationsRead}) || !c.ActsFor("17") || c.ActsFor("18") {
		t.Errorf("%+v, %v", c, err)
	}
}

// Keys rotate; while their server is away those that were had go on, and tokens
// with keys that do not exist do not make the service ask it each time.
func TestKeysRotate(t *testing.T) {
	k := authtest.NewKeyServer(t)
	k.SetDown(true)
	cfg := jwtConfig(k)
	cfg.JWT.UnknownKeyInterval = time.Nanosecond
	v := verifier(t, cfg)
	first := k.Sign(nil)
	if _, err := v.Verify(t.Context(), first); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("without keys: %v", err)
	}
	k.SetDown(false)
	if _, err := v.Verify(t.Context(), first); err != nil {
		t.Errorf("the server is back: %v", err)
	}
	k.Rotate("key-2")
	second := k.Sign(nil)
	for _, token := range []string{second, first} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("rotated: %v", err)
		}
	}
	k.SetDown(true)
	k.Rotate("key-3")
	if _, err := v.Verify(t.Context(), second); err != nil {
		t.Errorf("the server is away: %v", err)
	}
	if _, err := v.Verify(t.Context(), k.Sign(nil)); err == nil || errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("a key that is not known: %v", err)
	}
	k.SetDown(false)

	cfg.JWT.UnknownKeyInterval = time.Hour
	v, before := verifier(t, cfg), k.Fetches()
	k.Withdraw("key-3")
	unknown := k.Sign(nil)
	for range 50 {
		if _, err := v.Verify(t.Context(), unknown); err == nil {
			t.Fatal("a withdrawn key is good")
		}
	}
	if n := k.Fetches() - before; n != 1 {
		t.Errorf("%d fetches, want one", n)
	}
}

func TestJWTByFile(t *testing.T) {
	k := authtest.NewKeyServer(t)
	path := filepath.Join(t.TempDir(), "jwks.json")
	write(t, path, k.JWKS())
	v := verifier(t, auth.Config{JWT: &auth.JWT{JWKSFile: path, Issuer: authtest.Issuer, Audience: authtest.Audience}})
	first := k.Sign(nil)
	k.Rotate("key-2")
	k.Withdraw("key-1")
	second := k.Sign(jwt.MapClaims{"customer": nil})
	if _, err := v.Verify(t.Context(), first); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), second); err == nil {
		t.Error("a key that is not in the file is good")
	}
	write(t, path, k.JWKS())
	if _, err := v.Verify(t.Context(), second); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), first); err == nil {
		t.Error("a key that has left the file is good")
	}
}

func TestBadConfig(t *testing.T) {
	for about, c := range map[string]struct {
		cfg  auth.Config
		want string
	}{
		"nothing":   {auth.Config{}, "no kind of token"},
		"no file":   {auth.Config{TokensFile: "/nowhere/tokens"}, "no such file"},
		"no issuer": {auth.Config{JWT: &auth.JWT{JWKSURL: "https://x/"}}, "issuer and audience"},
		"http":      {auth.Config{JWT: &auth.JWT{JWKSURL: "http://keys.example/", Issuer: "i", Audience: "a"}}, "https://"},
		"both":      {auth.Config{JWT: &auth.JWT{JWKSURL: "https://x/", JWKSFile: "y", Issuer: "i", Audience: "a"}}, "either"},
		"HS256":     {auth.Config{JWT: &auth.JWT{JWKSURL: "https://x/", Issuer: "i", Audience: "a", Algorithms: []string{"HS256"}}}, "HS256"},
		"much skew": {auth.Config{JWT: &auth.JWT{JWKSURL: "https://x/", Issuer: "i", Audience: "a", ClockSkew: time.Hour}}, "clock skew"},
	} {
		if _, err := auth.New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", about, err, c.want)
		}
	}
}

// Nobody gets a service without authentication by forgetting a variable.
func TestFromEnv(t *testing.T) {
	lines := ""
	authtest.NewToken(t, &lines, auth.Token{Name: "shop"})
	path := filepath.Join(t.TempDir(), "tokens")
	write(t, path, lines)
	for about, c := range map[string]struct {
		env    map[string]string
		asks   bool
		wanted string
	}{
		"nothing":  {map[string]string{}, false, "PULSE_AUTH: nothing says"},
		"off":      {map[string]string{"PULSE_AUTH": "off"}, false, ""},
		"on":       {map[string]string{"PULSE_AUTH": "on"}, false, "PULSE_AUTH: the only value"},
		"tokens":   {map[string]string{"PULSE_AUTH_TOKENS_FILE": path}, true, ""},
		"both":     {map[string]string{"PULSE_AUTH_TOKENS_FILE": path, "PULSE_AUTH": "off"}, false, "PULSE_AUTH: is off"},
		"no file":  {map[string]string{"PULSE_AUTH_TOKENS_FILE": path + "x"}, false, "no such file"},
		"keys":     {map[string]string{"PULSE_AUTH_JWKS_URL": "https://issuer.test/", "PULSE_AUTH_ISSUER": "i", "PULSE_AUTH_AUDIENCE": "a", "PULSE_AUTH_ALGORITHMS": "ES256, EdDSA"}, true, ""},
		"bad keys": {map[string]string{"PULSE_AUTH_JWKS_URL": "https://issuer.test/"}, false, "issuer and audience"},
		"bad skew": {map[string]string{"PULSE_AUTH": "off", "PULSE_AUTH_CLOCK_SKEW": "much"}, false, "PULSE_AUTH_CLOCK_SKEW"},
	} {
		lookup := func(name string) (string, bool) { value, ok := c.env[name]; return value, ok }
		v, err := auth.FromEnv(lookup, silent)
		if (v != nil) != c.asks || (c.wanted == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.wanted) {
			t.Errorf("%s: %v, %v", about, v, err)
		}
	}
}
