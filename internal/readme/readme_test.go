package readme

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// The blocks of Go are in outbox_test.go and inbox_test.go, imports included.
func TestReadmeGoBlocks(t *testing.T) {
	readme := read(t, "../../README.md")
	code := read(t, "outbox_test.go") + read(t, "inbox_test.go")
	blocks := goBlock.FindAllStringSubmatch(readme, -1)
	if len(blocks) < 2 {
		t.Fatalf("README.md shows %d blocks of Go; it must show outbox and inbox", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(code, strings.TrimSpace(b[1])) {
			t.Errorf("this block of README.md is neither in outbox_test.go nor in inbox_test.go, which check that it compiles:\n%s", b[1])
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// The targets of links to files exist.
func TestDocsLinks(t *testing.T) {
	files := []string{"../../README.md", "../../CHANGELOG.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/adr/*.md", "../../.github/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			}
		}
	}
}

// Decisions are numbered without gaps, and their titles repeat the number.
func TestDecisionNumbers(t *testing.T) {
	files, err := filepath.Glob("../../docs/adr/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for i, file := range files {
		if want := fmt.Sprintf("%04d-", i+1); !strings.HasPrefix(filepath.Base(file), want) {
			t.Errorf("%s, want %s...", filepath.Base(file), want)
		}
		if want := fmt.Sprintf("# %d. ", i+1); !strings.HasPrefix(read(t, file), want) {
			t.Errorf("%s does not begin with %q", filepath.Base(file), want)
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
