package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/examples/internal/reload"
)

// ErrUnavailable says that a token cannot be checked now: no key has been had
// from the key server yet. It says nothing about the token.
var ErrUnavailable = errors.New("no keys to check tokens with")

// maxToken bounds a bearer token in bytes.
const maxToken = 8 << 10

// Config says which tokens are taken. At least one kind has to be given.
type Config struct {
	// TokensFile is the path of a file for ParseTokens. Empty: none.
	TokensFile string
	// Tokens are taken beside those of the file.
	Tokens Tokens
	// JWT, if set, is how JSON Web Tokens are checked.
	JWT *JWT
	// Logger is where changes of files and trouble with keys are told. Defaults
	// to slog.Default().
	Logger *slog.Logger
}

// Verifier tells the caller of a request by its bearer token. It is safe for
// concurrent use.
type Verifier struct {
	tokens *reload.Files[Tokens]
	given  Tokens
	jwt    *jwtVerifier
}

// New reads the files of cfg and returns a Verifier. The error names every
// problem. A key server need not be there yet.
func New(cfg Config) (*Verifier, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.TokensFile == "" && len(cfg.Tokens) == 0 && cfg.JWT == nil {
		return nil, errors.New("no kind of token is taken: give a file of tokens, or the keys of JWTs")
	}
	v := &Verifier{given: cfg.Tokens}
	var problems []error
	if cfg.TokensFile != "" {
		var err error
		if v.tokens, err = reload.Open(cfg.Logger, one(ParseTokens), cfg.TokensFile); err != nil {
			problems = append(problems, fmt.Errorf("file of tokens: %w", err))
		}
	}
	if cfg.JWT != nil {
		var err error
		if v.jwt, err = newJWT(*cfg.JWT, cfg.Logger); err != nil {
			problems = append(problems, fmt.Errorf("JWT: %w", err))
		}
	}
	return v, errors.Join(problems...)
}

// one makes the parser of one file fit for package reload.
func one[T any](parse func(string) (T, error)) func([]string) (T, error) {
	return func(texts []string) (T, error) { return parse(texts[0]) }
}

// Run fetches the keys of JWTs from their URL again and again until ctx ends.
// Where there is no URL it only waits.
func (v *Verifier) Run(ctx context.Context) error {
	if v.jwt == nil || v.jwt.keys.url == "" {
		<-ctx.Done()
		return nil
	}
	return v.jwt.keys.run(ctx)
}

// Verify returns who sent the token. The error is for the log, not for the
// sender; it holds nothing of a secret. It matches ErrUnavailable where the
// token could not be checked.
func (v *Verifier) Verify(ctx context.Context, token string) (Caller, error) {
	switch {
	case len(token) > maxToken:
		return Caller{}, fmt.Errorf("a token of %d bytes", len(token))
	case strings.Count(token, ".") == 2 && v.jwt != nil:
		return v.jwt.verify(ctx, token)
	}
	now := time.Now()
	if v.tokens != nil {
		if c, err := v.tokens.Get().find(token, now); err == nil || len(v.given) == 0 {
			return c, err
		}
	}
	if len(v.given) > 0 {
		return v.given.find(token, now)
	}
	return Caller{}, errors.New("not a JWT, and no other tokens are taken")
}
