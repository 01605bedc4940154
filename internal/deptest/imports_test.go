package deptest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestImports holds the tree to the rules. (The result of a test that runs
// another program may be cached wrongly; here TestFiles, in the same program,
// opens every file of the tree, so that a change of any runs both again.)
func TestImports(t *testing.T) {
	g := load(t)
	for _, r := range rules {
		for _, line := range r.check(g) {
			t.Error(line)
		}
	}
	for _, path := range soleImporters {
		for _, line := range checkSole(g, path) {
			t.Error(line)
		}
	}
}

// root is the module's directory as seen from this package.
var root = filepath.Join("..", "..")

// modules are the directories, below root, of the modules that are held to the
// rules.
var modules = []string{".", filepath.Join("examples", "databases")}

// load reads the imports of the tree and of all it depends on. Packages that
// do not compile are part of it as far as they can be read.
func load(t *testing.T) graph {
	t.Helper()
	module := strings.TrimSpace(output(t, ".", "list", "-m"))
	within := func(path string) string {
		if rest, ok := strings.CutPrefix(path, module); ok && (rest == "" || rest[0] == '/') {
			return "." + rest
		}
		return path
	}
	g := graph{}
	for _, dir := range modules {
		list := json.NewDecoder(strings.NewReader(output(t, dir, "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,TestImports,XTestImports", "./...")))
		for {
			var p struct {
				ImportPath                         string
				Standard                           bool
				Imports, TestImports, XTestImports []string
			}
			err := list.Decode(&p)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, known := g[within(p.ImportPath)]; known || p.Standard {
				continue // what is a dependency only, in the second module, is listed without its tests
			}
			var i imports
			for _, path := range p.Imports {
				i.product = append(i.product, within(path))
			}
			for _, path := range append(p.TestImports, p.XTestImports...) {
				if path := within(path); path != within(p.ImportPath) {
					i.tests = append(i.tests, path)
				}
			}
			g[within(p.ImportPath)] = i
		}
	}
	for _, want := range []string{"./internal/deptest", "./examples/databases/bun"} {
		if _, ok := g[want]; !ok {
			t.Fatalf("go list found %d packages, but not %s", len(g), want)
		}
	}
	return g
}

// output is what the go command prints in a directory below root.
func output(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join(root, dir)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
