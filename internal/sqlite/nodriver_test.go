//go:build nosqlite

package sqlite

import (
	"strings"
	"testing"
)

func TestOpenWithoutDriver(t *testing.T) {
	if _, err := Open("sqlite:x.db"); err == nil || !strings.Contains(err.Error(), "built without it (tag nosqlite)") {
		t.Errorf("got %v", err)
	}
}
