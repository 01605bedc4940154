package schema

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// dialect is the only draft that is read.
const dialect = "https://json-schema.org/draft/2020-12/schema"

// maxFile bounds a file with a schema.
const maxFile = 1 << 20

// Library is a directory of schemas. It is not safe for concurrent use; what it
// compiles is.
type Library struct {
	files fs.FS
	docs  map[string]any // by file
}

// NewLibrary returns the library of a directory. Nothing is read yet.
func NewLibrary(files fs.FS) *Library { return &Library{files: files, docs: make(map[string]any)} }

// Add puts a document into the library, as if it had been read from a file.
func (l *Library) Add(file string, document any) error {
	document, err := admit(file, document)
	if err == nil {
		l.docs[file] = document
	}
	return err
}

// Document returns the schema of a file, with a slash between its directories.
// The error names file and place. It is shared, and not to be changed.
func (l *Library) Document(file string) (any, error) {
	if doc, ok := l.docs[file]; ok {
		return doc, nil
	}
	if l.files == nil {
		return nil, fmt.Errorf("%s: %w", file, fs.ErrNotExist)
	}
	text, err := fs.ReadFile(l.files, file)
	if err != nil {
		return nil, err
	}
	doc, err := Decode(text, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := l.Add(file, doc); err != nil {
		return nil, err
	}
	return l.docs[file], nil
}

// admit refuses what this package gives no meaning to. A root's $id is left out:
// a file is known by its path.
func admit(file string, document any) (any, error) {
	root, ok := document.(map[string]any)
	if _, boolean := document.(bool); !ok && !boolean {
		return nil, fmt.Errorf("%s: a schema is an object, true or false", file)
	}
	if ok {
		if said, given := root["$schema"]; given && said != dialect && said != dialect+"#" {
			return nil, fmt.Errorf("%s: #/$schema: %v is not supported; draft 2020-12 is: %s", file, said, dialect)
		}
		without := make(map[string]any, len(root))
		for keyword, value := range root {
			if keyword != "$id" {
				without[keyword] = value
			}
		}
		document = without
	}
	var problems []error
	walk(document, "", func(s map[string]any, pointer string) bool {
		refuse := func(keyword, format string, args ...any) {
			problems = append(problems, fmt.Errorf("%s: #%s/%s: %s", file, pointer, keyword, fmt.Sprintf(format, args...)))
		}
		for _, keyword := range []string{"$id", "$dynamicRef", "$dynamicAnchor", "$vocabulary"} {
			if _, given := s[keyword]; given {
				refuse(keyword, "is not supported here; use $ref with #/$defs/... or the relative path of a file")
			}
		}
		if ref, given := s["$ref"].(string); given {
			if _, _, err := resolve(file, ref); err != nil {
				refuse("$ref", "%v", err)
			}
		}
		return true
	})
	return document, errors.Join(problems...)
}

// resolve returns file and JSON pointer of a reference that stands in a file.
func resolve(file, ref string) (target, pointer string, err error) {
	u, err := url.Parse(ref)
	switch {
	case err != nil:
		return "", "", err
	case u.Scheme != "" || u.Host != "":
		return "", "", fmt.Errorf("%q leads out of the directory of contracts; nothing is read from the network: copy it there, and refer to it by a relative path", ref)
	case u.Fragment != "" && !strings.HasPrefix(u.Fragment, "/"):
		return "", "", fmt.Errorf("%q is an anchor; use a JSON pointer such as #/$defs/address", ref)
	}
	target = file
	if u.Path != "" {
		target = path.Join(path.Dir(file), u.Path)
		if path.IsAbs(u.Path) || target == ".." || strings.HasPrefix(target, "../") {
			return "", "", fmt.Errorf("%q leads out of the directory of contracts", ref)
		}
	}
	return target, u.Fragment, nil
}

// Resolve returns the schema that a reference in a file leads to.
func (l *Library) Resolve(file, ref string) (schema any, target, pointer string, err error) {
	target, pointer, err = resolve(file, ref)
	if err != nil {
		return nil, "", "", err
	}
	doc, err := l.Document(target)
	if err != nil {
		return nil, "", "", err
	}
	schema, found := Lookup(doc, pointer)
	if !found {
		return nil, "", "", fmt.Errorf("%s: $ref %q leads nowhere", file, ref)
	}
	return schema, target, pointer, nil
}

// Reference is one of a schema's to another file.
type Reference struct {
	Name string // as it is written, without a pointer
	File string
}

// References returns the other files that a file refers to itself, each name once.
func (l *Library) References(file string) (all []Reference, err error) {
	doc, err := l.Document(file)
	if err != nil {
		return nil, err
	}
	walk(doc, "", func(s map[string]any, _ string) bool {
		ref, given := s["$ref"].(string)
		if name, _, _ := strings.Cut(ref, "#"); given && name != "" {
			target, _, resolveErr := resolve(file, ref)
			err = errors.Join(err, resolveErr)
			if r := (Reference{name, target}); !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
		return true
	})
	return all, err
}

// base is where the files are for the compiler.
const base = "contract:///"

func urlOf(file string) string { return base + (&url.URL{Path: file}).EscapedPath() }

// Load implements jsonschema.URLLoader.
func (l *Library) Load(at string) (any, error) {
	escaped, ours := strings.CutPrefix(at, base)
	file, err := url.PathUnescape(escaped)
	if !ours || err != nil {
		return nil, fmt.Errorf("%s is not in the directory of contracts; nothing is read from the network", at)
	}
	return l.Document(file)
}

// Compile compiles the schema at a JSON pointer in a file; the empty pointer is
// the whole file. The error names file and place.
func (l *Library) Compile(file, pointer string) (*Schema, error) {
	if _, err := l.Document(file); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(l)
	compiled, err := c.Compile(urlOf(file) + "#" + (&url.URL{Path: pointer}).EscapedPath())
	if err == nil {
		return &Schema{compiled}, nil
	}
	if invalid, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if faults, ok := errors.AsType[*jsonschema.ValidationError](invalid.Err); ok {
			at := strings.TrimSuffix(strings.TrimPrefix(invalid.URL, base), "#")
			fault := deepest(faults)
			return nil, fmt.Errorf("%s: #%s: %s", at, pointerOf(fault.InstanceLocation), text(fault))
		}
	}
	return nil, fmt.Errorf("%s: %s", file, strings.ReplaceAll(err.Error(), base, ""))
}

// Unknown returns where the schema of a file, and those that it refers to, have
// keywords that this package gives no meaning to: JSON pointers behind the names
// of other files.
func (l *Library) Unknown(file string) ([]string, error) {
	var unknown []string
	seen := map[string]bool{file: true}
	for queue := []string{file}; len(queue) > 0; queue = queue[1:] {
		doc, err := l.Document(queue[0])
		if err != nil {
			return nil, err
		}
		prefix := ""
		if queue[0] != file {
			prefix = queue[0] + "#"
		}
		walk(doc, "", func(s map[string]any, pointer string) bool {
			for _, keyword := range slices.Sorted(maps.Keys(s)) {
				format, _ := s["format"].(string)
				if !Known(keyword) || keyword == "format" && !formats[format] {
					unknown = append(unknown, prefix+pointer+"/"+Escape(keyword))
				}
			}
			if ref, given := s["$ref"].(string); given {
				if target, _, err := resolve(queue[0], ref); err == nil && !seen[target] {
					seen[target] = true
					queue = append(queue, target)
				}
			}
			return true
		})
	}
	return unknown, nil
}
