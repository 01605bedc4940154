package inbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// maxProbes bounds the search for the place of a fault in a large document.
const maxProbes = 2000

// faultPath returns the JSON path of what makes the document unfit for the type
// that into points to, as far as it can be found: "$" is the whole document.
// Package json names no path where a type decodes itself (a time, a UUID), and no
// index of an array. So each member is tried alone, down to the one at fault.
func faultPath(document []byte, into any) string {
	target := reflect.TypeOf(into)
	if target == nil || target.Kind() != reflect.Pointer || !json.Valid(document) {
		return syntaxPath(document)
	}
	probes := 0
	fails := func(candidate []byte) bool {
		probes++
		return json.Unmarshal(candidate, reflect.New(target.Elem()).Interface()) != nil
	}
	path, before, after := "$", "", ""
	for probes < maxProbes {
		step, open, inner, end := failingMember(document, func(member string) bool {
			return probes < maxProbes && fails([]byte(before+member+after))
		})
		if step == "" {
			break
		}
		path, document = path+step, inner
		before, after = before+open, end+after
	}
	return path
}

// failingMember returns the first member of an object or array that fails when
// it is its only one: the step of the path to it, the text around it, and its
// own. The step is empty where there is none.
func failingMember(document []byte, fails func(member string) bool) (step, open string, inner []byte, end string) {
	var object map[string]json.RawMessage
	var array []json.RawMessage
	switch {
	case json.Unmarshal(document, &object) == nil:
		names := make([]string, 0, len(object))
		for name := range object {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			quoted, err := json.Marshal(name)
			if err != nil {
				continue
			}
			if open := "{" + string(quoted) + ":"; fails(open + string(object[name]) + "}") {
				return "." + name, open, object[name], "}"
			}
		}
	case json.Unmarshal(document, &array) == nil:
		for i, item := range array {
			if fails("[" + string(item) + "]") {
				return fmt.Sprintf("[%d]", i), "[", item, "]"
			}
		}
	}
	return "", "", nil, ""
}

// syntaxPath returns the path of the value at which a document ceases to be
// JSON.
func syntaxPath(document []byte) string {
	type level struct {
		array bool
		index int
		name  string // of the member that is being read; empty: none yet
	}
	var levels []level
	value := func() { // a value of the innermost level is complete
		if n := len(levels); n > 0 && levels[n-1].array {
			levels[n-1].index++
		} else if n > 0 {
			levels[n-1].name = ""
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	for {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		delim, isDelim := token.(json.Delim)
		switch n := len(levels); {
		case isDelim && (delim == '{' || delim == '['):
			levels = append(levels, level{array: delim == '['})
		case isDelim:
			levels = levels[:n-1]
			value()
		case n > 0 && !levels[n-1].array && levels[n-1].name == "":
			levels[n-1].name, _ = token.(string)
		default:
			value()
		}
	}
	var path strings.Builder
	path.WriteString("$")
	for _, l := range levels {
		switch {
		case l.array:
			fmt.Fprintf(&path, "[%d]", l.index)
		case l.name != "":
			path.WriteString("." + l.name)
		}
	}
	return path.String()
}
