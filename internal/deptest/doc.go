// Package deptest holds tests of the tree as a whole: which package may import
// which (rules_test.go is the list, to be read), how long a file may be and
// what it may be called.
package deptest
