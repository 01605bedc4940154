package compat

import (
	"regexp/syntax"
	"strings"
)

// ofFormat are texts of the formats that are asserted.
var ofFormat = map[string]string{
	"uuid": "0198c0de-7a11-7c3e-9d02-5b1f0a6e4d21", "date-time": "2026-01-15T09:30:00Z", "date": "2026-01-15", "time": "09:30:00Z",
	"duration": "P1D", "email": "ann@example.com", "hostname": "example.com", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1",
	"uri": "https://example.com/a", "uri-reference": "/a", "iri": "https://example.com/a", "iri-reference": "/a",
	"uri-template": "/a/{b}", "json-pointer": "/a", "relative-json-pointer": "1/a", "regex": "^a$",
}

// textsFor returns texts around the limits of the schemas, and of their patterns
// and formats.
func textsFor(hints all) (values []any) {
	add := func(s string) { values = append(values, s) }
	for _, f := range hints.flats {
		if format, given := f.of["format"].(string); given && ofFormat[format] != "" {
			add(ofFormat[format])
		}
		if pattern, given := f.of["pattern"].(string); given {
			for _, s := range textsLike(pattern) {
				add(s)
			}
		}
	}
	for _, s := range []string{"a", "", "0", "A", "x y", "é", "-1", "true"} {
		add(s)
	}
	for _, format := range sortedKeys(ofFormat) {
		add(ofFormat[format])
	}
	for _, f := range hints.flats {
		for _, keyword := range []string{"minLength", "maxLength"} {
			n := number(f.of[keyword])
			if n == nil || !n.IsInt() || !n.Num().IsInt64() || n.Num().Int64() > 5000 {
				continue
			}
			for by := -1; by <= 1; by++ {
				size := max(0, int(n.Num().Int64())+by)
				add(strings.Repeat("a", size))
				add(strings.Repeat("0", size))
			}
		}
	}
	return values
}

// textsLike returns some texts that a pattern matches, the shortest first.
func textsLike(pattern string) (texts []string) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	for _, extra := range []int{0, 1, 2} {
		var b strings.Builder
		if write(&b, re.Simplify(), extra); matches(pattern, b.String()) {
			texts = append(texts, b.String())
		}
	}
	return texts
}

// longText bounds what is made of a pattern.
const longText = 2000

// write writes a text that re matches: of alternatives the first or a later one,
// and repetitions as often as they have to be and extra times more.
func write(b *strings.Builder, re *syntax.Regexp, extra int) {
	if b.Len() > longText {
		return
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			b.WriteRune(re.Rune[2*extra%len(re.Rune)])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('a')
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			write(b, sub, extra)
		}
	case syntax.OpAlternate:
		write(b, re.Sub[extra%len(re.Sub)], extra)
	case syntax.OpStar, syntax.OpQuest:
		for range min(extra, 1) {
			write(b, re.Sub[0], extra)
		}
	case syntax.OpPlus:
		for range 1 + extra {
			write(b, re.Sub[0], extra)
		}
	}
}
