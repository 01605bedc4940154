package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/examples/auth"
)

// GuardConfig says whom a Guard lets in.
type GuardConfig struct {
	// Verifier tells the caller by the token of a request. Nil: nobody is asked,
	// and everybody may do everything.
	Verifier *auth.Verifier
	// Limits of requests. Zero: none.
	Limits Limits
	// ClientCert: requests need a client certificate that the server has
	// verified. Probes of health have none, and are let in.
	ClientCert bool
	Logger     *slog.Logger
}

// Guard stands before every handler of a service: it gives a request its ids,
// and lets it in or refuses it. It is safe for concurrent use. A nil Guard asks
// nobody.
type Guard struct {
	cfg    GuardConfig
	limits *limiter
}

// NewGuard returns a Guard.
func NewGuard(cfg GuardConfig) *Guard {
	return &Guard{cfg: cfg, limits: newLimiter(cfg.Limits)}
}

// Enter returns the context of a request: with its ids, see Context, and with
// its caller. Whoever is refused gets the error as the answer. Health is asked
// for by orchestrators and load balancers, which have no tokens: it tells
// nothing that needs one.
func (g *Guard) Enter(r *http.Request) (context.Context, *Error) {
	ctx, refusal := Context(r)
	switch {
	case refusal != nil, strings.HasPrefix(r.URL.Path, "/health/"):
		return ctx, refusal
	case g == nil:
		return auth.WithCaller(ctx, auth.Anybody()), nil
	}
	if wait := g.limits.all.take(time.Now()); wait > 0 {
		return ctx, tooMany(wait, "there are more requests than this service takes")
	}
	if g.cfg.ClientCert && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		return ctx, &Error{Status: http.StatusForbidden, Code: "certificate_required", Message: "a client certificate is required here", Problem: true}
	}
	caller, refusal := g.caller(ctx, r)
	of, key := g.limits.callers, caller.Name
	if key == "" {
		of, key = g.limits.strangers, network(r.RemoteAddr)
	}
	if wait := of.take(key, time.Now()); wait > 0 {
		return ctx, tooMany(wait, "you send more requests than this service takes from one caller")
	}
	if refusal != nil {
		return ctx, refusal
	}
	return auth.WithCaller(ctx, caller), nil
}

// caller asks for the token. Whatever is wrong with it, the answer is the same.
func (g *Guard) caller(ctx context.Context, r *http.Request) (auth.Caller, *Error) {
	if g.cfg.Verifier == nil {
		return auth.Anybody(), nil
	}
	given := r.Header.Values("Authorization")
	if len(given) == 0 {
		return auth.Caller{}, unauthorized("a token is required, in the header Authorization: Bearer TOKEN", "")
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	token = strings.TrimSpace(token)
	err := errors.New("no bearer token")
	caller := auth.Caller{}
	if len(given) == 1 && strings.EqualFold(scheme, "Bearer") && token != "" {
		caller, err = g.cfg.Verifier.Verify(ctx, token)
	}
	switch {
	case err == nil:
		return caller, nil
	case errors.Is(err, auth.ErrUnavailable):
		g.cfg.Logger.ErrorContext(ctx, "a token cannot be checked", "error", err)
		return auth.Caller{}, unavailable("tokens cannot be checked now; try again")
	}
	g.cfg.Logger.InfoContext(ctx, "token refused", "reason", shortened(err.Error()), "remote", r.RemoteAddr)
	return auth.Caller{}, unauthorized("the token is not valid", `, error="invalid_token"`)
}

const realm = `Bearer realm="pulse-events"`

func unauthorized(message, challenge string) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: "unauthorized", Message: message, Challenge: realm + challenge, Problem: true}
}

func tooMany(wait time.Duration, message string) *Error {
	return &Error{Status: http.StatusTooManyRequests, Code: "too_many_requests", Message: message, RetryAfter: wait, Problem: true}
}

// Require refuses a caller without the scope.
func Require(ctx context.Context, scope string) error {
	if auth.CallerOf(ctx).May(scope) {
		return nil
	}
	return &Error{
		Status: http.StatusForbidden, Code: "forbidden", Message: "the token lacks the scope " + scope,
		Challenge: realm + `, error="insufficient_scope", scope="` + scope + `"`, Problem: true,
	}
}

// RequireCustomer refuses a caller who may not act for the customer.
func RequireCustomer(ctx context.Context, customer string) error {
	if auth.CallerOf(ctx).ActsFor(customer) {
		return nil
	}
	return &Error{
		Status: http.StatusForbidden, Code: "forbidden", Message: "the token is for another customer",
		Challenge: realm + `, error="insufficient_scope"`, Problem: true,
	}
}

// Sees reports whether the caller may see what belongs to the customer. To all
// others it does not exist.
func Sees(ctx context.Context, customer string) bool { return auth.CallerOf(ctx).ActsFor(customer) }

// OnlyCustomer returns the one customer whose things the caller may see; empty:
// those of all.
func OnlyCustomer(ctx context.Context) string {
	if c := auth.CallerOf(ctx).Customer; c != auth.AnyCustomer {
		return c
	}
	return ""
}
