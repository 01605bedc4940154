package deptest

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// tidy returns a small tree that obeys every rule.
func tidy() graph {
	return graph{
		"./outbox/wire":                   {product: []string{"strings"}},
		"./internal/schema":               {product: []string{"github.com/santhosh-tekuri/jsonschema/v6"}},
		"./outbox/wire/contract":          {product: []string{"./outbox/wire", "./internal/schema"}},
		"./outbox/wire/contract/registry": {product: []string{"./outbox/wire/contract", "github.com/twmb/franz-go/pkg/sr"}},
		"./internal/rabbit":               {product: []string{"./outbox/wire", "github.com/rabbitmq/amqp091-go"}},
		"./internal/testenv":              {product: []string{"testing", "github.com/ory/dockertest/v3"}},
		"./outbox":                        {product: []string{"./outbox/wire", "net/http", "github.com/jmoiron/sqlx", "go.opentelemetry.io/otel/propagation"}, tests: []string{"./internal/testenv", "./pulsectl/devbroker"}},
		"./outbox/rabbitmq":               {product: []string{"./outbox", "./internal/rabbit"}},
		"./outbox/sqlite":                 {product: []string{"./internal/sqlite"}},
		"./outbox/outboxtest":             {product: []string{"./outbox", "testing"}},
		"./inbox":                         {product: []string{"./outbox/wire", "github.com/google/uuid"}, tests: []string{"./outbox/sqlite"}},
		"./inbox/rabbitmq":                {product: []string{"./inbox", "./internal/rabbit"}},
		"./examples/orders":               {product: []string{"./outbox"}},
		"./examples/notifications":        {product: []string{"./inbox"}},
		"./examples/stdlib":               {product: []string{"net/http", "./examples/orders", "./examples/notifications", "./examples/internal/service", "./outbox/rabbitmq"}},
		"./examples/gin":                  {product: []string{"github.com/gin-gonic/gin", "gorm.io/gorm", "./examples/orders", "./examples/internal/service"}, tests: []string{"./examples/internal/exampletest"}},

		"./examples/internal/service":     {product: []string{"net/http", "./outbox"}},
		"./examples/internal/exampletest": {product: []string{"testing", "./examples/internal/service", "./internal/testenv", "./pulsectl/devbroker"}},

		"./pulsectl": {product: []string{"./pulsectl/internal/command", "./pulsectl/devbroker"}},
		"./pulsectl/internal/command": {
			product: []string{"github.com/urfave/cli/v2", "./pulsectl/internal/console", "./examples/stdlib"},
			tests:   []string{"testing", "./internal/testenv"},
		},
		"./pulsectl/internal/console": {product: []string{"github.com/charmbracelet/lipgloss"}},
		"./pulsectl/devbroker":        {product: []string{"net", "./pulsectl/devbroker/internal/wire"}, tests: []string{"./internal/testenv"}},
	}
}

func TestRulesTidyTree(t *testing.T) {
	for _, r := range rules {
		for _, line := range r.check(tidy()) {
			t.Error(line)
		}
	}
	for _, path := range soleImporters {
		for _, line := range checkSole(tidy(), path) {
			t.Error(line)
		}
	}
}

// TestRulesCanBeBroken adds imports to the tidy tree, one at a time, and
// checks that the right rule reports the chain.
func TestRulesCanBeBroken(t *testing.T) {
	proven := map[string]bool{}
	for _, c := range []struct {
		rule       string // how the rule's name begins
		from, adds string
		inTests    bool
		chain      string
	}{
		{"the wire contract", "./outbox/wire", "github.com/google/uuid", false, "./outbox/wire -> github.com/google/uuid"},
		{"contracts add", "./internal/schema", "github.com/google/uuid", false, "./outbox/wire/contract -> ./internal/schema -> github.com/google/uuid"},
		{"the registry adds", "./outbox/wire/contract/registry", "github.com/twmb/franz-go", false, "./outbox/wire/contract/registry -> github.com/twmb/franz-go"},
		{"internal packages", "./internal/rabbit", "./outbox", false, "./internal/rabbit -> ./outbox"},
		{"internal packages", "./internal/rabbit", "./pulsectl/devbroker", false, "./internal/rabbit -> ./pulsectl/devbroker"},
		{"the cores", "./outbox", "github.com/rabbitmq/amqp091-go", false, "./outbox -> github.com/rabbitmq/amqp091-go"},
		{"the cores", "./outbox/wire", "github.com/jackc/pgx/v5", false, "./inbox -> ./outbox/wire -> github.com/jackc/pgx/v5"},
		{"the cores", "./inbox", "go.opentelemetry.io/otel/sdk/trace", false, "./inbox -> go.opentelemetry.io/otel/sdk/trace"},
		{"the cores", "github.com/jmoiron/sqlx", "example.com/new", false, "./outbox -> github.com/jmoiron/sqlx -> example.com/new"},
		{"the outbox knows", "./outbox", "./inbox", true, "./outbox (test) -> ./inbox"},
		{"the outbox knows", "./outbox/rabbitmq", "./inbox", false, "./outbox/rabbitmq -> ./inbox"},
		{"the inbox knows", "./inbox", "./outbox/rabbitmq", true, "./inbox (test) -> ./outbox/rabbitmq"},
		{"the packages that open", "./outbox/sqlite", "./outbox", false, "./outbox/sqlite -> ./outbox"},
		{"the examples use", "./examples/stdlib", "./internal/rabbit", false, "./examples/stdlib -> ./internal/rabbit"},
		{"the examples use", "./examples/internal/service", "./internal/testenv", false, "./examples/internal/service -> ./internal/testenv"},
		{"the examples' tests", "./examples/gin", "./internal/rabbit", true, "./examples/gin (test) -> ./internal/rabbit"},
		{"the examples' tests", "./examples/internal/exampletest", "./internal/rabbit", false, "./examples/internal/exampletest -> ./internal/rabbit"},
		{"the libraries know", "./inbox", "./examples/orders", true, "./inbox (test) -> ./examples/orders"},
		{"the libraries know", "./outbox", "./pulsectl/internal/command", false, "./outbox -> ./pulsectl/internal/command"},
		{"the libraries and the examples are built", "./inbox/rabbitmq", "./pulsectl/devbroker", false, "./inbox/rabbitmq -> ./pulsectl/devbroker"},
		{"the libraries and the examples are built", "./examples/internal/service", "./pulsectl/devbroker", false, "./examples/internal/service -> ./pulsectl/devbroker"},
		{"the examples' domain", "./examples/orders", "net/http", false, "./examples/orders -> net/http"},
		{"the examples know", "./examples/stdlib", "./pulsectl/internal/console", false, "./examples/stdlib -> ./pulsectl/internal/console"},
		{"the stdlib stack", "./examples/stdlib", "./examples/gin", true, "./examples/stdlib (test) -> ./examples/gin"},
		{"the gin stack", "./examples/gin", "./examples/stdlib", true, "./examples/gin (test) -> ./examples/stdlib"},
		{"what the stacks share", "./examples/internal/service", "./examples/gin", false, "./examples/internal/service -> ./examples/gin"},
		{"Gin and GORM", "./examples/stdlib", "gorm.io/gorm", false, "./examples/stdlib -> gorm.io/gorm"},
		{"Gin and GORM", "github.com/jmoiron/sqlx", "gorm.io/gorm", false, "./outbox -> github.com/jmoiron/sqlx -> gorm.io/gorm"},
		{"pulsectl runs", "./pulsectl/internal/command", "./examples/gin", false, "./pulsectl/internal/command -> ./examples/gin"},
		{"pulsectl compiles", "./examples/stdlib", "github.com/docker/docker/client", false,
			"./pulsectl/internal/command -> ./examples/stdlib -> github.com/docker/docker/client"},
		{"the checker of fault runs", "./pulsectl/internal/chaos/check", "./outbox", false, "./pulsectl/internal/chaos/check -> ./outbox"},
		{"the web page", "./pulsectl/internal/page", "./pulsectl/internal/env", false, "./pulsectl/internal/page -> ./pulsectl/internal/env"},
		{"the development broker is", "./pulsectl/devbroker", "./outbox/wire", false, "./pulsectl/devbroker -> ./outbox/wire"},
		{"the development broker's tests", "./pulsectl/devbroker", "./outbox/rabbitmq", true, "./pulsectl/devbroker (test) -> ./outbox/rabbitmq"},
		{"the command-line", "./examples/stdlib", "github.com/urfave/cli/v2", true, "./examples/stdlib (test) -> github.com/urfave/cli/v2"},
		{"what is built", "./outbox/rabbitmq", "./outbox/outboxtest", false, "./outbox/rabbitmq -> ./outbox/outboxtest"},
		{"what is built", "./examples/gin", "./examples/internal/exampletest", false, "./examples/gin -> ./examples/internal/exampletest"},
		{"what is built", "./pulsectl/internal/console", "testing", false, "./pulsectl/internal/console -> testing"},
	} {
		t.Run(c.from+" to "+c.adds, func(t *testing.T) {
			i := slices.IndexFunc(rules, func(r rule) bool { return strings.HasPrefix(r.name, c.rule) })
			if i < 0 {
				t.Fatalf("no rule begins with %q", c.rule)
			}
			proven[rules[i].name] = true
			g := tidy()
			p := g[c.from]
			if c.inTests {
				p.tests = append(p.tests, c.adds)
			} else {
				p.product = append(p.product, c.adds)
			}
			g[c.from] = p
			lines := rules[i].check(g)
			if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, c.chain+"\n") }) {
				t.Errorf("got %q; want the chain %s", lines, c.chain)
			}
		})
	}
	for _, r := range rules {
		if !proven[r.name] {
			t.Errorf("nothing here breaks the rule: %s", r.name)
		}
	}
}

func TestSoleImporter(t *testing.T) {
	g := tidy()
	g["./pulsectl/internal/top"] = imports{product: []string{soleImporters[0]}}
	if lines := checkSole(g, soleImporters[0]); len(lines) != 1 || !strings.Contains(lines[0], "./pulsectl/internal/console and ./pulsectl/internal/top") {
		t.Errorf("got %q; want both importers named", lines)
	}
}

// TestRulesHaveDistinctNames checks that failures can be told apart by the name of the
// rule.
func TestRulesHaveDistinctNames(t *testing.T) {
	names := map[string]bool{}
	for _, r := range rules {
		names[r.name] = true
	}
	if len(names) != len(rules) {
		t.Errorf("%d names for %d rules: %q", len(names), len(rules), slices.Sorted(maps.Keys(names)))
	}
}
