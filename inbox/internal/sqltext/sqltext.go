// Package sqltext reads SQL to find out whether a text would end the transaction
// in which it is sent, or change the session. It splits a text into statements as the database does (quotes, dollar
// quotes, comments, bodies of functions and triggers) and looks at their first
// words and at the functions they name. It does not parse.
package sqltext

import (
	"cmp"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Effects is what a text does beside reading and writing tables.
type Effects struct {
	// Ends is the statement that would begin, end or prepare a transaction,
	// such as "COMMIT"; "" if there is none. Savepoints are none.
	Ends string
	// Session is the statement that changes the session, such as
	// "SET search_path", or the function that does; "" if there is none.
	Session string
	// Settings are the names of what it sets that have a dot: settings of an
	// application's own, which PostgreSQL does not list.
	Settings []string
	// Unnamed: it sets something whose name is not in the text.
	Unnamed bool
	// Opaque: it runs code that is not in the text and may change the session,
	// such as a function of the user's. Triggers are not seen.
	Opaque bool
}

// add merges the effects that another reading of the same text has found.
func (e *Effects) add(other Effects) {
	e.Ends = cmp.Or(e.Ends, other.Ends)
	e.Session = cmp.Or(e.Session, other.Session)
	e.Settings = append(e.Settings, other.Settings...)
	e.Unnamed = e.Unnamed || other.Unnamed
	e.Opaque = e.Opaque || other.Opaque
}

// Quoting is how PostgreSQL reads a backslash in '...'.
type Quoting int

// The ways.
const (
	Standard  Quoting = iota // as itself
	Backslash                // as an escape: standard_conforming_strings is off
	Unknown                  // one or the other: what either finds counts
)

// Read returns the effects of all statements in text. The first that ends the
// transaction, and the first that changes the session, are named. It remembers
// the texts that it has read, as programs send the same few texts many times.
func Read(d sqldb.Dialect, text string, quoting Quoting) Effects {
	k := key{d, quoting, text}
	if effects, known := memory.get(k); known {
		return effects
	}
	effects := readAs(d, text, quoting)
	memory.put(k, effects)
	return effects
}

func readAs(d sqldb.Dialect, text string, quoting Quoting) Effects {
	first := read(d, text, quoting == Backslash)
	if quoting != Unknown || d != sqldb.PostgreSQL || !strings.ContainsRune(text, '\\') {
		return first
	}
	first.add(read(d, text, true))
	return first
}

func read(d sqldb.Dialect, text string, backslash bool) Effects {
	r := reader{postgres: d == sqldb.PostgreSQL}
	l := lexer{text: text, postgres: r.postgres, backslash: backslash}
	for {
		t := l.next()
		if t.kind == end || t.kind == symbol && t.text == ";" && r.splits() {
			r.finish()
			if t.kind == end {
				return r.effects
			}
			continue
		}
		r.see(t)
	}
}

// headWords is how many words of a statement say what it is.
const headWords = 6

// reader goes through the tokens of statements one by one.
type reader struct {
	postgres bool
	effects  Effects

	head   []string // first words of the statement, as written; a dotted name is one
	before string   // word before the name that is being read, in upper case
	name   string   // last part of that name; "" after anything else
	dotted bool     // a dot came after the name, so that it goes on
	args   []token  // of set_config, as far as they were read; nil: it was not called
	parens int
	body   int // depth of BEGIN and CASE in the body of a function or trigger
}

func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// splits reports whether a semicolon ends the statement here.
func (r *reader) splits() bool {
	// In parentheses PostgreSQL takes it for a part of CREATE RULE.
	return r.body == 0 && (r.parens == 0 || !r.postgres)
}

func (r *reader) see(t token) {
	defer r.seeArgument(t)
	switch t.kind {
	case word, quoted:
		r.seeName(t)
		return
	case literal:
		if r.postgres && len(r.head) == 1 && r.headIs(0, "DO") {
			r.seeBlock(t.text)
		}
	case symbol:
		switch t.text {
		case "(":
			if r.name != "" {
				r.call()
			}
			r.parens++
		case ")":
			r.parens--
		case ".":
			r.dotted = r.name != ""
			return
		}
	}
	r.before, r.name, r.dotted = "", "", false
}

// seeArgument reads the first argument of set_config, if that is a name.
func (r *reader) seeArgument(t token) {
	switch {
	case r.args == nil:
	case len(r.args) == 2 && r.args[1].kind == literal && r.args[1].text != "" && t.text == ",":
		r.setting(r.args[1].text)
		r.args = nil
	case len(r.args) == 2:
		r.effects.Unnamed, r.args = true, nil
	default:
		r.args = append(r.args, t)
	}
}

// seeBlock reads the body of a DO, of which only the session matters: a
// block cannot end the transaction it runs in.
func (r *reader) seeBlock(text string) {
	inner := reader{postgres: true}
	l := lexer{text: text, postgres: true}
	for {
		t := l.next()
		if t.kind == end {
			break
		}
		if t.kind == word && (inner.name == "" || startsInBlock[strings.ToUpper(inner.name)]) && sessionStatements[strings.ToUpper(t.text)] {
			inner.session(strings.ToUpper(t.text))
			inner.effects.Unnamed = true
		}
		inner.see(t)
	}
	inner.effects.Ends = ""
	r.effects.add(inner.effects)
}

// setting notes that a setting of that name is changed.
func (r *reader) setting(name string) {
	if strings.Contains(name, ".") && !slices.Contains(r.effects.Settings, name) {
		r.effects.Settings = append(r.effects.Settings, strings.ToLower(name))
	}
}

// seeName follows names such as schema.table, and what stands before them.
func (r *reader) seeName(t token) {
	switch n := len(r.head); {
	case !r.dotted && n < headWords && t.kind == word:
		r.head = append(r.head, t.text)
	case r.dotted && n > 0 && strings.EqualFold(lastPart(r.head[n-1]), r.name):
		r.head[n-1] += "." + t.text
	}
	if !r.dotted {
		r.before = strings.ToUpper(r.name)
	}
	r.name, r.dotted = t.text, false
	if t.kind != word {
		return
	}
	switch upper := strings.ToUpper(t.text); upper {
	case "TEMP", "TEMPORARY":
		switch r.before {
		case "CREATE", "REPLACE", "GLOBAL", "LOCAL", "INTO":
			r.session(r.before + " " + upper)
		}
	case "PG_TEMP":
		r.session("pg_temp")
	case "ATOMIC":
		if r.postgres && r.before == "BEGIN" && r.parens == 0 && r.createsRoutine() {
			r.body = 1
		}
	case "BEGIN":
		if !r.postgres && r.body == 0 && r.createsTrigger() {
			r.body = 1
		}
	case "CASE":
		if r.body > 0 {
			r.body++
		}
	case "END":
		if r.body > 0 {
			r.body--
		}
	}
}

// createsRoutine reports whether the statement is one whose body may be
// statements of SQL: CREATE [OR REPLACE] FUNCTION or PROCEDURE.
func (r *reader) createsRoutine() bool {
	at := 1
	if r.headIs(1, "OR") && r.headIs(2, "REPLACE") {
		at = 3
	}
	return r.headIs(0, "CREATE") && (r.headIs(at, "FUNCTION") || r.headIs(at, "PROCEDURE"))
}

// createsTrigger is the same for SQLite: CREATE [TEMP] TRIGGER.
func (r *reader) createsTrigger() bool {
	at := 1
	if r.headIs(1, "TEMP") || r.headIs(1, "TEMPORARY") {
		at = 2
	}
	return r.headIs(0, "CREATE") && r.headIs(at, "TRIGGER")
}

// headIs compares one of the first words, in any case.
func (r *reader) headIs(i int, keyword string) bool {
	return i < len(r.head) && strings.EqualFold(r.head[i], keyword)
}

// call handles a name that is followed by a parenthesis.
func (r *reader) call() {
	switch name := strings.ToLower(r.name); {
	case changesSession(name):
		r.session(name + "()")
		if name == "set_config" {
			r.args = make([]token, 0, 2)
		}
	case namesTable[r.before] || notCalled[name] || pureFunctions[name]:
	default:
		r.effects.Opaque = true
	}
}

func (r *reader) session(what string) {
	if r.effects.Session == "" {
		r.effects.Session = what
	}
}

// finish judges the statement that ends here by its first words.
func (r *reader) finish() {
	if what := r.ends(); what != "" {
		if r.effects.Ends == "" {
			r.effects.Ends = what
		}
	} else if len(r.head) > 0 {
		r.judge()
	}
	*r = reader{postgres: r.postgres, effects: r.effects, head: r.head[:0]}
}

// ends returns the statement if it is one that is about transactions.
func (r *reader) ends() string {
	for _, keyword := range []string{"BEGIN", "COMMIT", "END"} {
		if r.headIs(0, keyword) {
			return keyword
		}
	}
	switch {
	case r.postgres && (r.headIs(0, "ABORT") || r.headIs(0, "START")):
		return strings.ToUpper(r.head[0])
	case r.postgres && r.headIs(0, "PREPARE") && r.headIs(1, "TRANSACTION"):
		return "PREPARE TRANSACTION"
	case r.headIs(0, "ROLLBACK"):
		to := 1
		if r.headIs(1, "TRANSACTION") || r.postgres && r.headIs(1, "WORK") {
			to = 2
		}
		if !r.headIs(to, "TO") {
			return "ROLLBACK"
		}
	}
	return ""
}

func (r *reader) judge() {
	switch first := strings.ToUpper(r.head[0]); {
	case r.postgres && sessionStatements[first]:
		r.session(r.title())
		r.setting(r.head[len(strings.Fields(r.title()))-1])
	case r.postgres && !plainStatements[first]:
		r.effects.Opaque = true
	case r.postgres:
	case first == "PRAGMA" && !slices.ContainsFunc(r.head, func(w string) bool { return readingPragmas[strings.ToLower(lastPart(w))] }),
		first == "ATTACH", first == "DETACH":
		r.session(r.title())
	}
}

// title is how messages name a statement: its keywords and what it is about,
// and never a value.
func (r *reader) title() string {
	n := 2
	if len(r.head) > 1 {
		switch strings.ToUpper(r.head[1]) {
		case "LOCAL", "SESSION", "TIME":
			n = 3
		}
	}
	words := slices.Clone(r.head[:min(n, len(r.head))])
	words[0] = strings.ToUpper(words[0])
	return strings.Join(words, " ")
}
