package deptest

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// maxLines is how long a Go file may be, tests included. What needs more is
// about two things.
const maxLines = 400

// vagueNames say nothing about what is inside, and so collect everything.
var vagueNames = []string{"util", "utils", "common", "types", "models", "helper", "helpers"}

// TestFiles holds every Go file of the tree to the length and the names.
func TestFiles(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if path != root && strings.HasPrefix(entry.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		inTree, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, line := range checkFile(inTree, content) {
			t.Error(line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("found no Go file")
	}
}

// checkFile returns a line for each rule a file breaks.
func checkFile(path string, content []byte) []string {
	var broken []string
	if n := bytes.Count(content, []byte("\n")); n > maxLines {
		broken = append(broken, fmt.Sprintf("%s has %d lines; the limit is %d: split it by what it is about", path, n, maxLines))
	}
	stem := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".go"), "_test")
	if slices.Contains(vagueNames, stem) {
		broken = append(broken, fmt.Sprintf("%s: %q says nothing; name the file for what is in it", path, stem))
	}
	// A file that does not parse is the compiler's affair.
	if file, err := parser.ParseFile(token.NewFileSet(), path, content, parser.PackageClauseOnly); err == nil {
		if name := strings.TrimSuffix(file.Name.Name, "_test"); slices.Contains(vagueNames, name) {
			broken = append(broken, fmt.Sprintf("%s: package %s says nothing; name it for what it gives", path, name))
		}
	}
	return broken
}

func TestCheckFile(t *testing.T) {
	long := "package outbox\n" + strings.Repeat("\n", maxLines)
	for _, c := range []struct {
		path, content string
		says          string // empty: nothing is wrong
	}{
		{"outbox/relay.go", long[:maxLines], ""},
		{"outbox/relay.go", long, "has 401 lines"},
		{"outbox/relay_test.go", long, "has 401 lines"},
		{"outbox/util.go", "package outbox\n", `"util"`},
		{"outbox/helpers_test.go", "package outbox_test\n", `"helpers"`},
		{"internal/shared/a.go", "package common\n", "package common"},
		{"internal/shared/a_test.go", "package types_test\n", "package types"},
		{"outbox/utility_room.go", "package outbox\n", ""},
	} {
		lines := strings.Join(checkFile(c.path, []byte(c.content)), "\n")
		if (lines == "") != (c.says == "") || !strings.Contains(lines, c.says) {
			t.Errorf("%s: %q; want %q", c.path, lines, c.says)
		}
	}
}
