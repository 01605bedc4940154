package faults_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const guarantees = "../../docs/guarantees.md"

var link = regexp.MustCompile(`\[([^\]]+)\]\(([^)#\s]+)[^)]*\)`)

// Every test that docs/guarantees.md names is in the file that its link points
// to, and the targets of other links exist.
func TestGuaranteesLinksExist(t *testing.T) {
	text, err := os.ReadFile(guarantees)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range brokenLinks(string(text), filepath.Dir(guarantees)) {
		t.Error(problem)
	}
}

func brokenLinks(text, dir string) (problems []string) {
	for _, found := range link.FindAllStringSubmatch(text, -1) {
		name, target := strings.Trim(found[1], "`"), found[2]
		if strings.Contains(target, "://") {
			continue
		}
		path := filepath.Join(dir, target)
		switch {
		case strings.HasPrefix(name, "Test") != strings.HasSuffix(target, "_test.go"):
			problems = append(problems, fmt.Sprintf("%s links to %s: tests, and only tests, link to the file they are in", name, target))
		case strings.HasPrefix(name, "Test"):
			if tests, err := testsIn(path); err != nil || !slices.Contains(tests, name) {
				problems = append(problems, fmt.Sprintf("%s is not in %s (%v)", name, target, err))
			}
		default:
			if _, err := os.Stat(path); err != nil {
				problems = append(problems, err.Error())
			}
		}
	}
	return problems
}

// testsIn returns the names of the tests in a file.
func testsIn(path string) (names []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
			names = append(names, f.Name.Name)
		}
	}
	return names, nil
}

// Every guarantee and every fault has its row, in order, and each guarantee
// names a test; a fault without a test says so.
func TestGuaranteesRowsComplete(t *testing.T) {
	text, err := os.ReadFile(guarantees)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			name, _, _ := strings.Cut(strings.Trim(cells[1], " *"), " ")
			rows[strings.Trim(name, "*")] = line
		}
	}
	for _, kind := range []struct {
		letter string
		last   int
	}{{"G", 13}, {"F", 28}} {
		for n := 1; n <= kind.last; n++ {
			name := fmt.Sprint(kind.letter, n)
			row, found := rows[name]
			switch tested := strings.Contains(row, "[Test"); {
			case !found:
				t.Errorf("%s has no row", name)
			case kind.letter == "G" && !tested:
				t.Errorf("%s names no test", name)
			case !tested && !strings.Contains(row, "not tested yet"):
				t.Errorf("%s names no test and does not say so", name)
			}
		}
	}
}

// Every test of a fault in this package is linked from the page.
func TestGuaranteesLinkEveryFaultTest(t *testing.T) {
	text, err := os.ReadFile(guarantees)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	fault := regexp.MustCompile(`^TestF\d+`)
	for _, file := range files {
		names, err := testsIn(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if fault.MatchString(name) && !strings.Contains(string(text), fmt.Sprintf("[%s](../internal/faults/%s)", name, file)) {
				t.Errorf("%s in %s is not linked", name, file)
			}
		}
	}
}

func TestBrokenLinks(t *testing.T) {
	for _, text := range []string{
		"[TestNobodyWrote](guarantees_test.go)",
		"[TestBrokenLinks](system_test.go)",
		"[TestBrokenLinks](doc.go)",
		"[a word](guarantees_test.go)",
		"[a page](nowhere.md)",
	} {
		if len(brokenLinks(text, ".")) != 1 {
			t.Errorf("%s: not found", text)
		}
	}
	if problems := brokenLinks("[`TestBrokenLinks`](guarantees_test.go#L1), [TestMain](system_test.go), [this](doc.go), [far](https://example.org/x)", "."); len(problems) != 0 {
		t.Error(problems)
	}
}
