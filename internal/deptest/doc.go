// Package deptest tests the tree as a whole: which package may import which
// (the list is rules_test.go), and the length and names of files.
package deptest
