package faults_test

import (
	"flag"
	"testing"
)

var longToo = flag.Bool("long", false, "run the tests that take minutes as well (make faults-long)")

// long skips a test that takes minutes, unless the flag is set.
func long(t *testing.T) {
	t.Helper()
	if !*longToo {
		t.Skip("takes minutes: make faults-long")
	}
}
