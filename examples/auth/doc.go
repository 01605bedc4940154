// Package auth tells who calls a service by HTTP, and what the caller may do.
//
// A [Verifier] takes the bearer token of a request (RFC 6750) and returns the
// [Caller]. It knows two kinds of tokens, and a service may use both:
//
//   - Tokens of a file: a line for each with its name, its hash, what it may do
//     and when it expires; see [ParseTokens] and [NewToken].
//   - JSON Web Tokens, signed with a key of a JWK set that is read from a file
//     or fetched from a URL; see [JWT].
//
// Files are read again when they change, and keys may rotate while the service
// runs. Why a token is refused is for the log alone: whoever sent it learns
// nothing that helps to guess another.
package auth
