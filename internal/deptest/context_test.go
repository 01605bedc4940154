package deptest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestImageContext: .dockerignore lets through every package that the Dockerfile of
// docker-compose.yml compiles, which building an image takes minutes to tell.
func TestImageContext(t *testing.T) {
	read := func(elem ...string) string {
		content, err := os.ReadFile(filepath.Join(append([]string{root}, elem...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	args := []string{"list", "-deps", "-tags=nosqlite", "-f", "{{.ImportPath}}"}
	for _, build := range regexp.MustCompile(`go build -o \S+ (.*)`).FindAllStringSubmatch(read("examples", "compose", "Dockerfile"), -1) {
		args = append(args, strings.Fields(build[1])...)
	}
	ignore := read(".dockerignore")
	module := strings.TrimSpace(output(t, ".", "list", "-m"))
	seen := 0
	for dir := range strings.FieldsSeq(output(t, ".", args...)) {
		if dir, ours := strings.CutPrefix(dir, module+"/"); ours {
			seen++
			if ignores(ignore, dir) {
				t.Errorf(".dockerignore: leaves out %s, which an image is compiled from", dir)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d packages of this module, want those of the services", seen)
	}
}

// ignores reports whether the text of a .dockerignore leaves a directory out: the last
// line that names it, or a directory it is in, decides. Patterns of files are passed over.
func ignores(text, dir string) (ignored bool) {
	for line := range strings.Lines(text) {
		line, kept := strings.CutPrefix(strings.TrimSpace(line), "!")
		for part := dir; part != "."; part = path.Dir(part) {
			if matched, err := path.Match(line, part); err == nil && matched {
				ignored = !kept
			}
		}
	}
	return ignored
}

func TestIgnores(t *testing.T) {
	const text = "# all\n*\n!a\n!b/c\na/x\n**/*_test.go\n"
	for dir, want := range map[string]bool{"a": false, "a/b": false, "a/x": true, "a/x/y": true, "b": true, "b/d": true, "b/c": false, "b/c/d": false} {
		if got := ignores(text, dir); got != want {
			t.Errorf("%s: %v", dir, got)
		}
	}
}
