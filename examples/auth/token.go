package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Prefix of the tokens that NewToken makes, so that scanners of repositories
// and logs can find one that has leaked.
const Prefix = "pulse_"

// Bounds of a file of tokens. All of them are compared with what a request
// brings, so that the time of an answer tells nothing; for more callers than
// this there are JWTs.
const (
	maxTokens = 1000
	maxName   = 64
	// minToken is how long a token has to be: it is what guessing has to find.
	minToken = 20
)

// Token is a line of a file of tokens. It holds the hash of the secret, not the
// secret.
type Token struct {
	// Name for the log: visible ASCII without "=" and "#".
	Name string
	// Hash is the SHA-256 of the secret. Secrets are random and long, so that
	// none can be found by trying. A slow hash such as bcrypt, which passwords
	// that people choose need, would only make each request expensive.
	Hash [sha256.Size]byte
	// Scopes as in Caller.
	Scopes []string
	// Customer as in Caller.
	Customer string
	// Expires is when the token ends; zero: never.
	Expires time.Time
}

// NewToken makes a secret of 130 random bits and the line for it. Without
// scopes the token gets all, and without a customer it acts for any.
func NewToken(t Token) (secret string, _ Token, err error) {
	if len(t.Scopes) == 0 {
		t.Scopes = Scopes()
	}
	if t.Customer == "" {
		t.Customer = AnyCustomer
	}
	secret = Prefix + rand.Text()
	t.Hash = sha256.Sum256([]byte(secret))
	return secret, t, t.check()
}

// String returns the line.
func (t Token) String() string {
	line := t.Name + " sha256:" + hex.EncodeToString(t.Hash[:]) + " scopes=" + strings.Join(t.Scopes, ",")
	if t.Customer != AnyCustomer {
		line += " customer=" + t.Customer
	}
	if !t.Expires.IsZero() {
		line += " expires=" + t.Expires.UTC().Format(time.RFC3339)
	}
	return line
}

func (t Token) check() error {
	switch {
	case t.Name == "" || len(t.Name) > maxName || !visible(t.Name) || strings.ContainsAny(t.Name, "=#"):
		return fmt.Errorf("the name has to be 1 to %d visible ASCII characters without = and #", maxName)
	case t.Customer == "" || !visible(t.Customer):
		return errors.New("customer: has to be visible ASCII characters")
	}
	for _, scope := range t.Scopes {
		if !slices.Contains(Scopes(), scope) {
			return fmt.Errorf("unknown scope %q; have %s", scope, strings.Join(Scopes(), ", "))
		}
	}
	return nil
}

// visible reports whether text is visible ASCII alone, as a log line takes it.
func visible(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Tokens are those of a file.
type Tokens []Token

// ParseTokens reads a file of tokens: a line for each, with the name, the hash,
// and fields in any order; # begins a comment.
//
//	shop    sha256:9f86d0...  scopes=orders:write,orders:read  expires=2027-01-31T00:00:00Z
//	app-17  sha256:2c26b4...  scopes=orders:read               customer=customer-17
//
// scopes is required; without customer the token acts for any. To replace a
// token, add the new one under another name, and delete the old one when nobody
// uses it any more. The error names each bad line by its number and repeats
// nothing of it: somebody may have written a secret there.
func ParseTokens(text string) (Tokens, error) {
	var list Tokens
	var problems []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		t, err := parseToken(line)
		switch {
		case err != nil:
		case slices.ContainsFunc(list, func(other Token) bool { return other.Name == t.Name }):
			err = errors.New("the name is taken by a line above")
		case slices.ContainsFunc(list, func(other Token) bool { return other.Hash == t.Hash }):
			err = errors.New("the hash is that of a line above")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		list = append(list, t)
	}
	switch {
	case len(problems) > 0:
		return nil, errors.Join(problems...)
	case len(list) == 0: // also a file that is just being written
		return nil, errors.New("holds no token; pulsectl token new makes one")
	case len(list) > maxTokens:
		return nil, fmt.Errorf("holds %d tokens, at most %d are taken; use JWTs for more callers", len(list), maxTokens)
	}
	return list, nil
}

func parseToken(line string) (t Token, err error) {
	fields := strings.Fields(line)
	if len(fields) < 3 {
		return t, errors.New("expected: name sha256:HASH scopes=SCOPE,SCOPE [customer=ID] [expires=TIME]")
	}
	t.Name, t.Customer = fields[0], AnyCustomer
	digits, isHash := strings.CutPrefix(fields[1], "sha256:")
	hash, err := hex.DecodeString(digits)
	if !isHash || err != nil || len(hash) != len(t.Hash) {
		return t, errors.New("the second word is not sha256: and 64 hexadecimal digits; pulsectl token new prints the line of a token")
	}
	copy(t.Hash[:], hash)
	seen := map[string]bool{}
	for _, field := range fields[2:] {
		name, value, _ := strings.Cut(field, "=")
		if seen[name] {
			return t, errors.New("a field is given twice")
		}
		seen[name] = true
		switch name {
		case "scopes":
			t.Scopes = strings.Split(value, ",")
		case "customer":
			t.Customer = value
		case "expires":
			if t.Expires, err = time.Parse(time.RFC3339, value); err != nil {
				return t, errors.New("expires: not a time such as 2027-01-31T00:00:00Z")
			}
		default:
			return t, errors.New("unknown field; have scopes, customer, expires")
		}
	}
	if !seen["scopes"] {
		return t, errors.New("scopes: is missing")
	}
	return t, t.check()
}

// find returns the caller whose secret this is. It compares with all hashes, in
// constant time each.
func (list Tokens) find(secret string, now time.Time) (Caller, error) {
	if len(secret) < minToken {
		return Caller{}, errors.New("the token is too short to be one")
	}
	hash := sha256.Sum256([]byte(secret))
	found := -1
	for i := range list {
		if subtle.ConstantTimeCompare(list[i].Hash[:], hash[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return Caller{}, errors.New("no such token")
	}
	t := list[found]
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return Caller{}, fmt.Errorf("token %s expired at %s", t.Name, t.Expires.UTC().Format(time.RFC3339))
	}
	return Caller{Name: t.Name, Scopes: t.Scopes, Customer: t.Customer}, nil
}
