package deptest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// serverLimits are what every HTTP server bounds its clients by. ReadTimeout is
// also the limit of headers and of idle connections, where these are not set.
var serverLimits = []string{"ReadTimeout", "WriteTimeout", "MaxHeaderBytes"}

// TestServersAreBounded holds every HTTP server of the product to limits.
func TestServersAreBounded(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		n, problems, err := serversOf(path, nil)
		seen += n
		for _, problem := range problems {
			t.Error(problem)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("found no server")
	}
}

// serversOf counts the composite literals of http.Server in a file, and returns
// what they lack.
func serversOf(path string, source any) (n int, problems []string, err error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, source, parser.SkipObjectResolution)
	if err != nil {
		return 0, nil, err
	}
	ast.Inspect(file, func(node ast.Node) bool {
		literal, ok := node.(*ast.CompositeLit)
		if !ok {
			return true
		}
		kind, ok := literal.Type.(*ast.SelectorExpr)
		if !ok || kind.Sel.Name != "Server" {
			return true
		}
		if of, ok := kind.X.(*ast.Ident); !ok || of.Name != "http" {
			return true
		}
		n++
		var set []string
		for _, element := range literal.Elts {
			if field, ok := element.(*ast.KeyValueExpr); ok {
				if name, ok := field.Key.(*ast.Ident); ok {
					set = append(set, name.Name)
				}
			}
		}
		for _, limit := range serverLimits {
			if !slices.Contains(set, limit) {
				problems = append(problems, fmt.Sprintf("%s: a server without %s", files.Position(literal.Pos()), limit))
			}
		}
		return true
	})
	return n, problems, nil
}

func TestServersOf(t *testing.T) {
	n, problems, err := serversOf("x.go", `package x
var a = &http.Server{ReadTimeout: 1, MaxHeaderBytes: 1}
var b = http.Server{ReadTimeout: 1, WriteTimeout: 1, MaxHeaderBytes: 1}`)
	if err != nil || n != 2 || len(problems) != 1 || !strings.Contains(problems[0], "x.go:2:10: a server without WriteTimeout") {
		t.Errorf("%d, %q, %v", n, problems, err)
	}
}
