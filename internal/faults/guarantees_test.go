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
	"strconv"
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

// Every guarantee and every fault has its row, in order and without a gap, which
// names a test and leaves nothing open.
func TestGuaranteesRowsComplete(t *testing.T) {
	text, err := os.ReadFile(guarantees)
	if err != nil {
		t.Fatal(err)
	}
	for letter, last := range map[string]int{"G": 13, "F": 84} {
		for _, problem := range incompleteRows(string(text), letter, last) {
			t.Error(problem)
		}
	}
}

var (
	row  = regexp.MustCompile(`(?m)^\| \**([A-Z])(\d+) .*$`)
	open = regexp.MustCompile(`(?i)\bnot (tested )?yet\b|\bpartial(ly)?\b|\btodo\b|\buntested\b`)
)

// incompleteRows returns what is wrong with the rows of a letter, of which the last
// has the number last.
func incompleteRows(text, letter string, last int) (problems []string) {
	want := 1
	for _, found := range row.FindAllStringSubmatch(text, -1) {
		line, name := found[0], found[1]+found[2]
		if found[1] != letter {
			continue
		}
		if name != fmt.Sprint(letter, want) {
			problems = append(problems, fmt.Sprintf("%s%d: its row is not before that of %s", letter, want, name))
			want, _ = strconv.Atoi(found[2])
		}
		want++
		words := link.ReplaceAllString(line, "")
		switch {
		case !strings.Contains(line, "[Test"):
			problems = append(problems, name+": names no test")
		case open.MatchString(words):
			problems = append(problems, name+": leaves something open: "+open.FindString(words))
		}
	}
	if want != last+1 {
		problems = append(problems, fmt.Sprintf("the last row is %s%d, want %s%d", letter, want-1, letter, last))
	}
	return problems
}

func TestIncompleteRows(t *testing.T) {
	good := "| fault | proven by |\n|---|---|\n| F1 cut | [TestOne](partial_outage_test.go) |\n| F2 broken | [TestTwo](b_test.go) |\n| **G1 Kept.** | |\n"
	if problems := incompleteRows(good, "F", 2); len(problems) != 0 {
		t.Error(problems)
	}
	for what, change := range map[string][2]string{
		"no test":    {"[TestTwo](b_test.go)", ""},
		"open":       {"F2 broken", "F2 broken, not yet tested"},
		"in part":    {"F2 broken", "F2 broken (partial)"},
		"a gap":      {"F2", "F3"},
		"its end":    {"| F2 broken | [TestTwo](b_test.go) |\n", ""},
		"its order":  {"F1 cut", "F2 cut"},
		"one beyond": {"| **G1", "| F3 new | [TestThree](c_test.go) |\n| **G1"},
	} {
		if text := strings.Replace(good, change[0], change[1], 1); text == good || len(incompleteRows(text, "F", 2)) == 0 {
			t.Errorf("%s: not found", what)
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
