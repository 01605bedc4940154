package sqlstore

import (
	"embed"
	"path"
	"strings"

	"github.com/asimalizada/pulse-events/outbox"
)

// Queries are the statements of a service in one dialect, by the names of their
// files.
type Queries map[string]string

// LoadQueries reads sql/<dialect>/*.sql. It panics where there are none: files
// are embedded.
func LoadQueries(files embed.FS, d outbox.Dialect) Queries {
	dir := path.Join("sql", string(d))
	entries, err := files.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	queries := make(Queries)
	for _, e := range entries {
		text, err := files.ReadFile(path.Join(dir, e.Name()))
		if err != nil {
			panic(err)
		}
		queries[strings.TrimSuffix(e.Name(), ".sql")] = withoutComments(string(text))
	}
	return queries
}

// withoutComments drops the lines that are for readers of the file: neither wire
// nor statistics carry it.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	return strings.TrimSpace(b.String())
}

// Get returns a statement. It panics where there is none.
func (q Queries) Get(name string) string {
	text, ok := q[name]
	if !ok {
		panic("no query " + name)
	}
	return text
}
