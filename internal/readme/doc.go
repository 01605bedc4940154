// Package readme tests README.md: each of its Go blocks must be, word for word,
// in a test file of this package that compiles.
package readme
