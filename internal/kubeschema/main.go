// Command kubeschema writes JSON schemas of Kubernetes objects, by which kubeconform
// checks manifests:
//
//	kubeschema -version v1.34.2 -out DIR
//
// Each kind gets a file, such as DIR/deployment-apps-v1.json. The source is the
// OpenAPI document in the module k8s.io/kubernetes, which the module proxy has where
// the usual schemas of kubeconform cannot be reached. Unknown fields are refused.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	version := flag.String("version", "", "version of Kubernetes, such as v1.34.2")
	out := flag.String("out", "", "directory for the schemas")
	flag.Parse()
	if err := run(*version, *out); err != nil {
		fmt.Fprintln(os.Stderr, "kubeschema:", err)
		os.Exit(1)
	}
}

// document is what is read of an OpenAPI document of version 2.
type document struct {
	Definitions map[string]map[string]any `json:"definitions"`
}

func run(version, out string) error {
	path, err := openAPI(version)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for name, definition := range doc.Definitions {
		refine(name, definition)
	}
	for name, definition := range doc.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 { // none, or shared by all, such as options
			continue
		}
		if err := write(out, name, kinds[0].(map[string]any), doc); err != nil {
			return err
		}
	}
	return nil
}

// openAPI returns the path of the document, in the module cache.
func openAPI(version string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", "k8s.io/kubernetes@"+version)
	cmd.Dir = os.TempDir() // outside of this module
	answer, err := cmd.Output()
	var module struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(answer, &module); err != nil || jsonErr != nil {
		return "", fmt.Errorf("%s: %v %s", cmd, err, module.Error)
	}
	return filepath.Join(module.Dir, "api", "openapi-spec", "swagger.json"), nil
}

// refine makes a JSON schema of a definition that tells what the API server takes.
func refine(name string, definition map[string]any) {
	switch {
	case strings.HasSuffix(name, ".intstr.IntOrString"):
		definition["type"] = []string{"string", "integer"}
	case strings.HasSuffix(name, ".resource.Quantity"):
		definition["type"] = []string{"string", "number"}
	case definition["properties"] != nil && definition["additionalProperties"] == nil:
		definition["additionalProperties"] = false
	}
	delete(definition, "format")
}

// write writes the schema of a kind, with all definitions it refers to.
func write(out, name string, kind map[string]any, doc document) error {
	needed := make(map[string]map[string]any)
	collect(name, doc, needed)
	schema := map[string]any{
		"$schema": "http://json-schema.org/draft-07/schema#",
		"allOf":   []any{map[string]any{"$ref": "#/definitions/" + name}},
		// Optional for Kubernetes' own types, and required of a manifest.
		"required":    []string{"apiVersion", "kind"},
		"definitions": needed,
	}
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	file := fmt.Sprintf("%v-%v-%v.json", kind["kind"], kind["group"], kind["version"])
	file = strings.ToLower(strings.ReplaceAll(file, "--", "-")) // the core group has no name
	return os.WriteFile(filepath.Join(out, file), text, 0o644)
}

// collect adds a definition and what it refers to, however deep.
func collect(name string, doc document, needed map[string]map[string]any) {
	definition, known := doc.Definitions[name]
	if needed[name] != nil || !known {
		return
	}
	needed[name] = definition
	var visit func(value any)
	visit = func(value any) {
		switch v := value.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				collect(strings.TrimPrefix(ref, "#/definitions/"), doc, needed)
			}
			for _, inner := range v {
				visit(inner)
			}
		case []any:
			for _, inner := range v {
				visit(inner)
			}
		}
	}
	visit(map[string]any(definition))
}
