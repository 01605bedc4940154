package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Bounds of JWT.ClockSkew.
const (
	defaultSkew = 30 * time.Second
	maxSkew     = 5 * time.Minute
)

// maxSubject bounds the subject of a JWT in bytes.
const maxSubject = 255

// Asymmetric algorithms. With a symmetric one whoever can check a token can
// make one, and "none" is no signature.
var asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// JWT says how JSON Web Tokens are checked. A token needs a signature by a key
// of the set, the issuer, the audience, an expiry in the future and a subject.
// Its scopes are the claim scope, words separated by spaces (RFC 9068), or scp,
// an array or such words; unknown ones count for nothing.
type JWT struct {
	// JWKSURL or JWKSFile is where the keys are: one of them. The URL has to be
	// https, or of this machine.
	JWKSURL, JWKSFile string
	// Issuer and Audience have to be in the token. Required.
	Issuer, Audience string
	// Algorithms are those that are taken. Defaults to RS256, PS256, ES256 and
	// EdDSA; only asymmetric ones are allowed.
	Algorithms []string
	// ClockSkew is how much the clocks of issuer and service may differ.
	// Defaults to 30 s; at most 5 min.
	ClockSkew time.Duration
	// CustomerClaim is the claim with the customer that the caller acts for, or
	// with the tenant; "*" in it stands for any. A token without the claim is
	// refused then. Empty: tokens act for any customer.
	CustomerClaim string
	// Client fetches keys. Defaults to one that follows no
	// redirects. A fetch takes at most 5 s.
	Client *http.Client
	// RefreshInterval is how often keys are fetched from the URL. A key that was
	// withdrawn is taken for as long. Defaults to 5 min.
	RefreshInterval time.Duration
	// UnknownKeyInterval is the least time between two fetches because a token
	// names a key that is not known. Defaults to 10 s.
	UnknownKeyInterval time.Duration
}

type jwtVerifier struct {
	cfg    JWT
	parser *jwt.Parser
	keys   *keys
}

func newJWT(cfg JWT, log *slog.Logger) (*jwtVerifier, error) {
	var problems []error
	if cfg.Issuer == "" || cfg.Audience == "" {
		problems = append(problems, errors.New("issuer and audience are required: without them a token that was made for another service is taken"))
	}
	if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}
	}
	for _, a := range cfg.Algorithms {
		if !slices.Contains(asymmetric, a) {
			problems = append(problems, fmt.Errorf("algorithm %q is not allowed; have %s", a, strings.Join(asymmetric, ", ")))
		}
	}
	if cfg.ClockSkew == 0 {
		cfg.ClockSkew = defaultSkew
	}
	if cfg.ClockSkew < 0 || cfg.ClockSkew > maxSkew {
		problems = append(problems, fmt.Errorf("clock skew %v; at most %v is allowed", cfg.ClockSkew, maxSkew))
	}
	set, err := newKeys(cfg, log)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return &jwtVerifier{cfg: cfg, keys: set, parser: jwt.NewParser(
		jwt.WithValidMethods(cfg.Algorithms), jwt.WithIssuer(cfg.Issuer), jwt.WithAudience(cfg.Audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(cfg.ClockSkew), jwt.WithStrictDecoding(), jwt.WithJSONNumber(),
	)}, nil
}

func (v *jwtVerifier) verify(ctx context.Context, token string) (Caller, error) {
	claims := jwt.MapClaims{}
	if _, err := v.parser.ParseWithClaims(token, claims, v.keys.find(ctx)); err != nil {
		return Caller{}, err
	}
	c := Caller{Customer: AnyCustomer, Scopes: scopesOf(claims)}
	var err error
	if c.Name, err = claims.GetSubject(); err != nil || c.Name == "" || len(c.Name) > maxSubject || !visible(c.Name) {
		return Caller{}, fmt.Errorf("the subject is not 1 to %d visible ASCII characters", maxSubject)
	}
	if claim := v.cfg.CustomerClaim; claim != "" {
		switch value := claims[claim].(type) {
		case string:
			c.Customer = value
		case json.Number:
			c.Customer = value.String()
		default:
			c.Customer = ""
		}
		if c.Customer == "" {
			return Caller{}, fmt.Errorf("the claim %s is missing or no text", claim)
		}
	}
	return c, nil
}

func scopesOf(claims jwt.MapClaims) (scopes []string) {
	add := func(words string) {
		for _, word := range strings.Fields(words) {
			if slices.Contains(Scopes(), word) && !slices.Contains(scopes, word) {
				scopes = append(scopes, word)
			}
		}
	}
	for _, claim := range []string{"scope", "scp"} {
		switch value := claims[claim].(type) {
		case string:
			add(value)
		case []any:
			for _, element := range value {
				if word, ok := element.(string); ok {
					add(word)
				}
			}
		}
	}
	return scopes
}
