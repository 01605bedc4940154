// Package schema reads, compiles and applies JSON Schemas of draft 2020-12 from
// the files of one directory. Nothing is fetched from the network. Regular
// expressions are those of package regexp, whose time is linear in the text;
// formats are asserted.
package schema

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// form says what the value of a keyword holds.
type form int

const (
	plain     form = iota // no schema
	single                // a schema
	list                  // an array of schemas
	named                 // an object of schemas
	annotates             // nothing that decides on validity
)

// keywords are those of draft 2020-12. Others have no meaning for validators, or
// a meaning that this one does not know.
var keywords = map[string]form{
	"$ref": plain, "$defs": named, "$schema": annotates, "$id": annotates, "$comment": annotates, "$anchor": annotates,
	"allOf": list, "anyOf": list, "oneOf": list, "not": single, "if": single, "then": single, "else": single,
	"properties": named, "patternProperties": named, "additionalProperties": single, "propertyNames": single,
	"unevaluatedProperties": single, "dependentSchemas": named, "dependentRequired": plain,
	"required": plain, "minProperties": plain, "maxProperties": plain,
	"prefixItems": list, "items": single, "contains": single, "unevaluatedItems": single,
	"minContains": plain, "maxContains": plain, "minItems": plain, "maxItems": plain, "uniqueItems": plain,
	"type": plain, "enum": plain, "const": plain, "format": plain,
	"minLength": plain, "maxLength": plain, "pattern": plain,
	"minimum": plain, "maximum": plain, "exclusiveMinimum": plain, "exclusiveMaximum": plain, "multipleOf": plain,
	"title": annotates, "description": annotates, "default": annotates, "examples": annotates, "deprecated": annotates,
	"readOnly": annotates, "writeOnly": annotates, "contentEncoding": annotates, "contentMediaType": annotates, "contentSchema": annotates,
}

// Known reports whether a keyword is one of draft 2020-12 that this package
// understands. Names that begin with x- are annotations by convention.
func Known(keyword string) bool {
	_, known := keywords[keyword]
	return known || strings.HasPrefix(keyword, "x-")
}

// Annotates reports whether a keyword has no say in what is valid.
func Annotates(keyword string) bool {
	return keywords[keyword] == annotates && Known(keyword) || strings.HasPrefix(keyword, "x-")
}

// formats are those that are asserted.
var formats = map[string]bool{
	"json-pointer": true, "relative-json-pointer": true, "uuid": true, "duration": true, "ipv4": true, "ipv6": true,
	"hostname": true, "email": true, "date": true, "time": true, "date-time": true, "uri": true, "uri-reference": true,
	"iri": true, "iri-reference": true, "uri-template": true, "regex": true,
}

// walk calls visit for a schema and all schemas in it, outer ones first, with
// their JSON pointers. visit returns false to leave out what is inside.
func walk(schema any, pointer string, visit func(schema map[string]any, pointer string) bool) {
	object, ok := schema.(map[string]any)
	if !ok || !visit(object, pointer) {
		return
	}
	for _, keyword := range slices.Sorted(maps.Keys(object)) {
		walkUnder(object[keyword], keyword, pointer, visit)
	}
}

// walkUnder walks the schemas in the value of one keyword.
func walkUnder(value any, keyword, pointer string, visit func(map[string]any, string) bool) {
	at := pointer + "/" + Escape(keyword)
	switch keywords[keyword] {
	case single:
		walk(value, at, visit)
	case list:
		schemas, _ := value.([]any)
		for i, s := range schemas {
			walk(s, at+"/"+strconv.Itoa(i), visit)
		}
	case named:
		schemas, _ := value.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(schemas)) {
			walk(schemas[name], at+"/"+Escape(name), visit)
		}
	}
}

var escaper = strings.NewReplacer("~", "~0", "/", "~1")
var unescaper = strings.NewReplacer("~1", "/", "~0", "~")

// Escape returns a token of a JSON pointer.
func Escape(token string) string { return escaper.Replace(token) }

// Lookup returns the value at a JSON pointer.
func Lookup(document any, pointer string) (any, bool) {
	if pointer == "" {
		return document, true
	}
	if !strings.HasPrefix(pointer, "/") {
		return nil, false
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = unescaper.Replace(token)
		switch v := document.(type) {
		case map[string]any:
			next, ok := v[token]
			if !ok {
				return nil, false
			}
			document = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			document = v[i]
		default:
			return nil, false
		}
	}
	return document, true
}
