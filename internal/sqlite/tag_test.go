package sqlite

import (
	"os/exec"
	"strings"
	"testing"
)

// The tag nosqlite takes the driver out of the programs of the containers, and
// a URL of SQLite is refused then.
func TestTagLeavesDriverOut(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-tags", "nosqlite", "../../examples/stdlib/cmd/...", "../../examples/gin/cmd/...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "ncruces") {
			t.Errorf("still imported: %s", line)
		}
	}
	if out, err := exec.Command("go", "test", "-tags", "nosqlite", "-run", "^TestOpenWithoutDriver$", ".").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
