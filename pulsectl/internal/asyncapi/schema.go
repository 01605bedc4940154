package asyncapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/internal/schema"
)

// translator makes schemas of AsyncAPI, which are those of draft 7 and more, of
// schemas of draft 2020-12. Each schema that is referred to becomes a component of
// its own, so that no pointer leads into a translated one.
type translator struct {
	library *schema.Library
	schemas map[string]any // components, by name
	names   map[string]string
	taken   map[string]bool
	lost    map[string]bool // places of what AsyncAPI cannot say
}

func newTranslator(l *schema.Library) *translator {
	return &translator{library: l, schemas: make(map[string]any), names: make(map[string]string), taken: make(map[string]bool), lost: make(map[string]bool)}
}

// component returns the name of the component for the schema at a pointer in a file.
func (t *translator) component(file, pointer string) (string, error) {
	at := file + "#" + pointer
	if name, known := t.names[at]; known {
		return name, nil
	}
	name := unique(identifier(strings.TrimSuffix(file, ".json")+pointer), t.taken)
	t.names[at] = name
	doc, err := t.library.Document(file)
	if err != nil {
		return "", err
	}
	s, found := schema.Lookup(doc, pointer)
	if !found {
		return "", fmt.Errorf("%s: #%s leads nowhere", file, pointer)
	}
	translated, err := t.translate(s, file, pointer)
	switch translated { // a component is an object
	case true:
		translated = map[string]any{}
	case false:
		translated = map[string]any{"not": map[string]any{}}
	}
	t.schemas[name] = translated
	return name, err
}

// translate translates one schema, which stands at a pointer in a file.
func (t *translator) translate(s any, file, pointer string) (any, error) {
	object, ok := s.(map[string]any)
	if !ok {
		return s, nil // true or false
	}
	out := make(map[string]any, len(object))
	var err error
	sub := func(value any, at ...string) any {
		place := pointer
		for _, token := range at {
			place += "/" + schema.Escape(token)
		}
		translated, e := t.translate(value, file, place)
		if e != nil && err == nil {
			err = e
		}
		return translated
	}
	for _, keyword := range slices.Sorted(maps.Keys(object)) {
		value := object[keyword]
		switch keyword {
		case "$ref", "$schema", "$defs", "$anchor", "contentSchema", "minContains", "maxContains", "items", "prefixItems", "dependentRequired", "dependentSchemas":
			// below, or without a meaning of its own
		case "not", "if", "then", "else", "additionalProperties", "propertyNames", "contains":
			out[keyword] = sub(value, keyword)
		case "allOf", "anyOf", "oneOf":
			out[keyword] = each(value, keyword, sub)
		case "properties", "patternProperties":
			named, _ := value.(map[string]any)
			translated := make(map[string]any, len(named))
			for name, s := range named {
				translated[name] = sub(s, keyword, name)
			}
			out[keyword] = translated
		case "unevaluatedProperties", "unevaluatedItems":
			t.lose(file, pointer, keyword)
		default:
			if schema.Known(keyword) {
				out[keyword] = value
			} else {
				t.lose(file, pointer, keyword)
			}
		}
	}
	t.items(object, out, sub)
	t.contains(object, out, file, pointer)
	dependencies(object, out, sub)
	if ref, given := object["$ref"].(string); given && err == nil {
		return t.refer(out, file, ref)
	}
	return out, err
}

// refer adds a reference to a translated schema. Draft 7 ignores what stands beside
// one.
func (t *translator) refer(out map[string]any, file, ref string) (any, error) {
	_, target, pointer, err := t.library.Resolve(file, ref)
	if err != nil {
		return nil, err
	}
	name, err := t.component(target, pointer)
	if err != nil {
		return nil, err
	}
	to := map[string]any{"$ref": "#/components/schemas/" + name}
	if len(out) == 0 {
		return to, nil
	}
	all, _ := out["allOf"].([]any)
	out["allOf"] = append([]any{to}, all...)
	return out, nil
}

func each(value any, keyword string, sub func(any, ...string) any) []any {
	list, _ := value.([]any)
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = sub(s, keyword, fmt.Sprint(i))
	}
	return out
}

func (t *translator) items(object, out map[string]any, sub func(any, ...string) any) {
	prefix, tuple := object["prefixItems"]
	rest, given := object["items"]
	if tuple {
		out["items"] = each(prefix, "prefixItems", sub)
	}
	switch {
	case given && tuple:
		out["additionalItems"] = sub(rest, "items")
	case given:
		out["items"] = sub(rest, "items")
	}
}

// contains leaves out what bounds how many items are contained, but for one at
// least, which is all that draft 7 can say.
func (t *translator) contains(object, out map[string]any, file, pointer string) {
	if _, given := object["contains"]; !given {
		return
	}
	if least, given := object["minContains"]; given {
		switch fmt.Sprint(least) {
		case "0":
			delete(out, "contains")
		case "1":
		default:
			t.lose(file, pointer, "minContains")
		}
	}
	if _, given := object["maxContains"]; given {
		t.lose(file, pointer, "maxContains")
	}
}

// dependencies were split into two keywords after draft 7.
func dependencies(object, out map[string]any, sub func(any, ...string) any) {
	required, _ := object["dependentRequired"].(map[string]any)
	schemas, _ := object["dependentSchemas"].(map[string]any)
	if len(required)+len(schemas) == 0 {
		return
	}
	all := make(map[string]any, len(required)+len(schemas))
	maps.Copy(all, required)
	for name, s := range schemas {
		s = sub(s, "dependentSchemas", name)
		if names, both := required[name]; both {
			s = map[string]any{"allOf": []any{map[string]any{"required": names}, s}}
		}
		all[name] = s
	}
	out["dependencies"] = all
}

func (t *translator) lose(file, pointer, keyword string) {
	t.lost[fmt.Sprintf("%s: #%s/%s", file, pointer, schema.Escape(keyword))] = true
}

// text returns an annotation of a schema that is a text, or "".
func text(s any, keyword string) string {
	object, _ := s.(map[string]any)
	value, _ := object[keyword].(string)
	return value
}

// identifier makes a key of AsyncAPI of a name.
func identifier(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		case r == '/':
			return '.'
		}
		return '_'
	}, name)
}

// unique returns a key that is not taken, and takes it.
func unique(key string, taken map[string]bool) string {
	for n, free := 2, key; ; n++ {
		if !taken[free] {
			taken[free] = true
			return free
		}
		free = fmt.Sprintf("%s-%d", key, n)
	}
}
