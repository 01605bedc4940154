package readme

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

func TestGoBlocksCompile(t *testing.T) {
	readme := read(t, "../../README.md")
	code := read(t, "snippets_test.go")
	blocks := goBlock.FindAllStringSubmatch(readme, -1)
	if len(blocks) < 2 {
		t.Fatalf("README.md shows %d blocks of Go; outbox and inbox are to be shown", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(code, strings.TrimSpace(b[1])) {
			t.Errorf("this block of README.md is not in snippets_test.go, which proves that it compiles:\n%s", b[1])
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// A link to a file leads to one.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, m := range link.FindAllStringSubmatch(read(t, "../../README.md"), -1) {
		if _, err := os.Stat("../../" + m[1]); err != nil {
			t.Errorf("README.md links to %s: %v", m[1], err)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
