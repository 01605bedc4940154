package auth

import (
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/examples/internal/settings"
)

// Variables.
const (
	envAuth          = "PULSE_AUTH" // off, or not set
	envTokensFile    = "PULSE_AUTH_TOKENS_FILE"
	envJWKSURL       = "PULSE_AUTH_JWKS_URL"
	envJWKSFile      = "PULSE_AUTH_JWKS_FILE"
	envIssuer        = "PULSE_AUTH_ISSUER"
	envAudience      = "PULSE_AUTH_AUDIENCE"
	envAlgorithms    = "PULSE_AUTH_ALGORITHMS" // separated by commas
	envClockSkew     = "PULSE_AUTH_CLOCK_SKEW" // default 30s
	envCustomerClaim = "PULSE_AUTH_CUSTOMER_CLAIM"
)

// GivenInEnv reports whether the environment says whom to let in, be it
// everybody.
func GivenInEnv(lookup func(string) (string, bool)) bool {
	return slices.ContainsFunc([]string{envAuth, envTokensFile, envJWKSURL, envJWKSFile}, func(name string) bool {
		value, _ := lookup(name)
		return value != ""
	})
}

// FromEnv reads the PULSE_AUTH_* variables, which docs/security.md describes.
// These tokens are taken as well. The Verifier is nil where PULSE_AUTH is off.
// Nobody switches authentication off by forgetting a variable: without any that
// is an error. The error names every problem by its variable.
func FromEnv(lookup func(string) (string, bool), log *slog.Logger, also ...Token) (*Verifier, error) {
	env := settings.NewReader(lookup)
	v := Read(env, log, also...)
	return v, env.Err()
}

// Read is FromEnv for a service that reads further variables.
func Read(env *settings.Reader, log *slog.Logger, also ...Token) *Verifier {
	cfg := Config{TokensFile: env.String(envTokensFile, ""), Tokens: also, Logger: log}
	keys := JWT{
		JWKSURL: env.String(envJWKSURL, ""), JWKSFile: env.String(envJWKSFile, ""),
		Issuer: env.String(envIssuer, ""), Audience: env.String(envAudience, ""),
		ClockSkew: env.Duration(envClockSkew, 0), CustomerClaim: env.String(envCustomerClaim, ""),
	}
	for name := range strings.SplitSeq(env.String(envAlgorithms, ""), ",") {
		if name = strings.TrimSpace(name); name != "" {
			keys.Algorithms = append(keys.Algorithms, name)
		}
	}
	if keys.JWKSURL != "" || keys.JWKSFile != "" {
		cfg.JWT = &keys
	}
	asked := cfg.TokensFile != "" || cfg.JWT != nil
	switch mode := env.String(envAuth, ""); {
	case mode != "" && mode != "off":
		env.Problem(envAuth, errors.New("the only value is off; "+envTokensFile+", "+envJWKSURL+" and "+envJWKSFile+" switch authentication on"))
	case mode == "off" && asked:
		env.Problem(envAuth, errors.New("is off, and "+envTokensFile+" or the keys of JWTs are set as well; unset one of them"))
	case mode == "off":
	case !asked:
		env.Problem(envAuth, errors.New("nothing says whose requests to take: set "+envTokensFile+" (pulsectl token new makes a line of it), or "+envJWKSURL+" or "+envJWKSFile+"; "+envAuth+"=off lets everybody in"))
	default:
		v, err := New(cfg)
		if err != nil {
			env.Problem(envAuth, err)
			return nil
		}
		return v
	}
	return nil
}
