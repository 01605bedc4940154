package schema

import "strconv"

// Closed returns a library in which the schema of one file is as its writers have
// to keep it: where an object declares properties and says nothing of others,
// there are no others. What is valid then is valid by the schema as it stands.
//
// Schemas in not, if, oneOf, contains and propertyNames, and those that these
// refer to, stay as they are: a stricter one there makes other documents valid.
func (l *Library) Closed(file string) (*Library, error) {
	c := &closer{from: l, to: NewLibrary(nil), rigid: make(map[location]bool), seen: make(map[use]bool)}
	doc, err := l.Document(file)
	if err != nil {
		return nil, err
	}
	if err := c.explore(doc, location{file, ""}, false); err != nil {
		return nil, err
	}
	for u := range c.seen {
		if _, done := c.to.docs[u.at.file]; !done {
			doc, err := l.Document(u.at.file)
			if err != nil {
				return nil, err
			}
			c.to.docs[u.at.file] = c.rewrite(doc, location{u.at.file, ""}, u.at.file == file)
		}
	}
	return c.to, nil
}

// location is that of a schema.
type location struct{ file, pointer string }

func (l location) under(token string) location {
	return location{l.file, l.pointer + "/" + Escape(token)}
}

// use is a schema and whether it stands where a stricter one would make other
// documents valid.
type use struct {
	at    location
	rigid bool
}

type closer struct {
	from, to *Library
	rigid    map[location]bool // schemas that stay as they are
	seen     map[use]bool
}

// rigidKeywords are those whose schemas must not become stricter.
var rigidKeywords = map[string]bool{"not": true, "if": true, "oneOf": true, "contains": true, "propertyNames": true}

// freshKeywords are those whose schemas are about a part of the document, and not
// about the same object as the schema around them.
var freshKeywords = map[string]bool{
	"properties": true, "patternProperties": true, "additionalProperties": true, "unevaluatedProperties": true,
	"items": true, "prefixItems": true, "unevaluatedItems": true,
}

// sharedKeywords are those whose schemas declare properties for the object of the
// schema around them.
var sharedKeywords = []string{"allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas"}

// explore finds what stays as it is, along all references.
func (c *closer) explore(schema any, at location, rigid bool) error {
	object, ok := schema.(map[string]any)
	if u := (use{at, rigid}); !c.seen[u] {
		c.seen[u] = true
	} else {
		return nil
	}
	if !ok {
		return nil
	}
	if rigid {
		c.rigid[at] = true
	}
	if ref, given := object["$ref"].(string); given {
		target, file, pointer, err := c.from.Resolve(at.file, ref)
		if err != nil {
			return err
		}
		if err := c.explore(target, location{file, pointer}, rigid); err != nil {
			return err
		}
	}
	return children(object, at, func(keyword string, schema any, at location) (any, error) {
		if keyword == "$defs" {
			return schema, nil // by reference only
		}
		return schema, c.explore(schema, at, rigid || rigidKeywords[keyword])
	})
}

// children calls f for each schema that stands in a keyword of another, and puts
// the result in its place.
func children(object map[string]any, at location, f func(keyword string, schema any, at location) (any, error)) error {
	for keyword, value := range object {
		place := at.under(keyword)
		var err error
		switch keywords[keyword] {
		case single:
			object[keyword], err = f(keyword, value, place)
		case list:
			schemas, _ := value.([]any)
			for i := range schemas {
				if schemas[i], err = f(keyword, schemas[i], place.under(strconv.Itoa(i))); err != nil {
					return err
				}
			}
		case named:
			schemas, _ := value.(map[string]any)
			for name := range schemas {
				if schemas[name], err = f(keyword, schemas[name], place.under(name)); err != nil {
					return err
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rewrite returns a copy of a schema, closed where that is to be. fresh: it is
// about a part of the document of its own.
func (c *closer) rewrite(schema any, at location, fresh bool) any {
	original, ok := schema.(map[string]any)
	if !ok {
		return schema
	}
	object := clone(original).(map[string]any)
	_ = children(object, at, func(keyword string, schema any, at location) (any, error) {
		return c.rewrite(schema, at, freshKeywords[keyword]), nil
	})
	_, additional := object["additionalProperties"]
	_, unevaluated := object["unevaluatedProperties"]
	if !fresh || c.rigid[at] || additional || unevaluated || !c.declares(original, at.file, make(map[location]bool)) {
		return object
	}
	keyword := "additionalProperties"
	if _, given := object["$ref"]; given {
		keyword = "unevaluatedProperties"
	}
	for _, shared := range sharedKeywords {
		if _, given := object[shared]; given {
			keyword = "unevaluatedProperties"
		}
	}
	object[keyword] = false
	return object
}

// declares reports whether a schema names properties of its object.
func (c *closer) declares(schema any, file string, seen map[location]bool) bool {
	object, ok := schema.(map[string]any)
	if !ok {
		return false
	}
	if object["properties"] != nil || object["patternProperties"] != nil {
		return true
	}
	if ref, given := object["$ref"].(string); given {
		target, file, pointer, err := c.from.Resolve(file, ref)
		if at := (location{file, pointer}); err == nil && !seen[at] {
			seen[at] = true
			if c.declares(target, file, seen) {
				return true
			}
		}
	}
	for _, keyword := range sharedKeywords {
		var found bool
		part := map[string]any{keyword: clone(object[keyword])}
		_ = children(part, location{file: file}, func(_ string, schema any, _ location) (any, error) {
			found = found || c.declares(schema, file, seen)
			return schema, nil
		})
		if found {
			return true
		}
	}
	return false
}

// clone returns a deep copy of a document.
func clone(value any) any {
	switch v := value.(type) {
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, member := range v {
			object[name] = clone(member)
		}
		return object
	case []any:
		array := make([]any, len(v))
		for i, item := range v {
			array[i] = clone(item)
		}
		return array
	}
	return value
}
