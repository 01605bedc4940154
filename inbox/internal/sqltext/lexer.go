package sqltext

import "strings"

type kind int

const (
	end     kind = iota
	word         // a keyword or a name without quotes
	quoted       // a name in quotes, without them
	literal      // a string or a number; the text is what is between the quotes of a plain one
	symbol       // one character of anything else
)

type token struct {
	kind kind
	text string
}

// lexer splits a text into tokens, as PostgreSQL's scan.l or SQLite's tokenize.c
// do.
type lexer struct {
	text      string
	pos       int
	postgres  bool
	backslash bool // escapes in '...' as well
}

func (l *lexer) next() token {
	l.skipSpace()
	if l.pos >= len(l.text) {
		return token{kind: end}
	}
	switch c := l.text[l.pos]; {
	case startsWord(c):
		return l.word()
	case c >= '0' && c <= '9':
		l.skipWhile(func(c byte) bool { return continuesWord(c) && c != '$' || c == '.' })
		return token{kind: literal}
	case c == '\'':
		from := l.pos
		l.string(l.postgres && l.backslash)
		return token{literal, strings.Trim(l.text[from:l.pos], "'")}
	case c == '"', !l.postgres && c == '`':
		return token{quoted, l.quoted(c)}
	case !l.postgres && c == '[':
		return token{quoted, l.quoted(']')}
	case l.postgres && c == '$':
		return l.dollar()
	default:
		l.pos++
		return token{symbol, l.text[l.pos-1 : l.pos]}
	}
}

func startsWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func continuesWord(c byte) bool { return startsWord(c) || c >= '0' && c <= '9' || c == '$' }

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}

func isNewline(c byte) bool { return c == '\n' || c == '\r' }

func (l *lexer) at(s string) bool { return strings.HasPrefix(l.text[l.pos:], s) }

func (l *lexer) skipWhile(cond func(byte) bool) {
	for l.pos < len(l.text) && cond(l.text[l.pos]) {
		l.pos++
	}
}

// skipSpace passes over spaces and comments.
func (l *lexer) skipSpace() {
	for {
		l.skipWhile(isSpace)
		switch {
		case l.at("--"):
			l.skipWhile(l.inLine)
		case l.at("/*"):
			l.skipComment()
		default:
			return
		}
	}
}

// inLine reports whether c belongs to the line of a comment. A carriage return
// alone ends it on PostgreSQL only.
func (l *lexer) inLine(c byte) bool { return c != '\n' && (c != '\r' || !l.postgres) }

// skipComment passes over a comment, which on PostgreSQL may hold others.
func (l *lexer) skipComment() {
	l.pos += len("/*")
	for depth := 1; depth > 0 && l.pos < len(l.text); {
		switch {
		case l.at("*/"):
			depth--
			l.pos += len("*/")
		case l.postgres && l.at("/*"):
			depth++
			l.pos += len("/*")
		default:
			l.pos++
		}
	}
}

// word reads a name, or the string that it is the prefix of.
func (l *lexer) word() token {
	from := l.pos
	l.skipWhile(continuesWord)
	text := l.text[from:l.pos]
	if l.postgres && len(text) == 1 {
		switch c := text[0] | 0x20; {
		case c == 'e' && l.at("'"):
			l.string(true)
			return token{kind: literal}
		case c == 'u' && l.at("&'"):
			l.pos++
			l.string(false)
			return token{kind: literal}
		case c == 'u' && l.at(`&"`):
			l.pos++
			l.quoted('"')
			return token{quoted, "\x00"} // an escaped name: not one in our lists
		}
	}
	return token{word, text}
}

// string passes over '...', and on PostgreSQL over what continues it on
// another line. A quote is doubled, or escaped with a backslash.
func (l *lexer) string(escapes bool) {
	for {
		l.pos++
		for l.pos < len(l.text) && l.text[l.pos] != '\'' {
			if escapes && l.text[l.pos] == '\\' {
				l.pos++
			}
			l.pos++
		}
		l.pos = min(l.pos+1, len(l.text))
		if !l.at("'") && !l.continued() {
			return
		}
	}
}

// continued moves to the quote that goes on with a string: behind white space
// with a line break in it.
func (l *lexer) continued() bool {
	if !l.postgres {
		return false
	}
	from, broken := l.pos, false
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case isSpace(c):
			broken = broken || isNewline(c)
			l.pos++
		case l.at("--"):
			l.skipWhile(l.inLine)
		case broken && c == '\'':
			return true
		default:
			l.pos = from
			return false
		}
	}
	l.pos = from
	return false
}

// quoted reads a name in quotes; the closing one is doubled inside, but for a
// bracket.
func (l *lexer) quoted(closing byte) string {
	var name strings.Builder
	for l.pos++; l.pos < len(l.text); l.pos++ {
		c := l.text[l.pos]
		if c == closing {
			l.pos++
			if closing == ']' || l.pos >= len(l.text) || l.text[l.pos] != closing {
				break
			}
		}
		name.WriteByte(c)
	}
	return name.String()
}

// dollar passes over $tag$...$tag$, a parameter, or a lone dollar.
func (l *lexer) dollar() token {
	open := l.pos + 1
	stop := open
	for stop < len(l.text) && continuesWord(l.text[stop]) && l.text[stop] != '$' {
		stop++
	}
	if stop < len(l.text) && l.text[stop] == '$' && (stop == open || startsWord(l.text[open])) {
		tag := l.text[l.pos : stop+1]
		text, rest, _ := strings.Cut(l.text[stop+1:], tag)
		l.pos = len(l.text) - len(rest)
		return token{literal, text}
	}
	l.pos = max(open, stop)
	return token{kind: literal}
}
