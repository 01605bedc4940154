package deptest

import "slices"

// scope says whose imports a rule looks at.
type scope int

const (
	product    scope = 1 << iota // what is built into programs
	tests                        // what _test.go files import, and all below it
	everywhere = product | tests
)

// rule forbids imports. Packages of this module are written ./like/this, and
// a pattern that ends in /... means a package and everything below it. Patterns
// that match nothing are fine.
type rule struct {
	name   string
	of     []string // the packages it holds for
	except []string // but not for these
	scope  scope
	direct bool     // look at what a package imports itself, not at all below
	never  []string // what must not be imported
	but    []string // what of that may be after all
	only   []string // instead of never: all that may be, beside the standard library
}

// Packages of ours that exist for tests: they may be built on what is for
// tests, and programs may not be built on them.
var ownForTests = []string{
	"./internal/testenv/...", "./internal/deptest/...", "./internal/certtest/...", "./internal/baotest/...", "./internal/rabbit/rabbittest/...",
	"./outbox/outboxtest/...", "./inbox/inboxtest/...", "./examples/acceptance/...", "./examples/auth/authtest", "./examples/internal/exampletest/...", "./examples/databases/internal/databasetest",
	"./examples/databases/entgo/ent/enttest", // generated
	"./pulsectl/devbroker/devbrokertest/...", "./pulsectl/chaostest/...",
}

// Others' packages that exist for tests.
var othersForTests = []string{
	"testing/...", "net/http/httptest",
	"github.com/ory/dockertest/...", "github.com/rogpeppe/go-internal/testscript/...", "go.uber.org/goleak/...",
	"github.com/twmb/franz-go/pkg/sr/srfake/...",
}

// Web frameworks and what the Gin stack brings along. GORM is no framework of
// the web, but belongs to that stack alone as well.
var frameworks = []string{"github.com/gin-gonic/...", "gorm.io/..."}

// Imports point inwards: pulsectl, examples, */rabbitmq, outbox and inbox,
// internal, outbox/wire. The rules name the steps from the inside out.
var rules = []rule{
	{
		name:   "the wire contract and its codings need the standard library alone",
		of:     []string{"./outbox/wire/..."},
		except: []string{"./outbox/wire/contract", "./outbox/wire/contract/registry"},
		scope:  product,
		only:   []string{"./outbox/wire/..."},
	},
	{
		name:  "contracts add a validator of JSON Schema to the wire contract, for those who import them",
		of:    []string{"./outbox/wire/contract"},
		scope: product,
		only: []string{
			"./outbox/wire", "./internal/schema",
			"github.com/santhosh-tekuri/jsonschema/v6/...", "golang.org/x/text/...",
		},
	},
	{
		name:  "the registry adds a client of registries to contracts, for those who import it",
		of:    []string{"./outbox/wire/contract/registry"},
		scope: product,
		only: []string{
			"./outbox/wire", "./outbox/wire/contract", "./internal/schema",
			"github.com/santhosh-tekuri/jsonschema/v6/...", "golang.org/x/text/...", "github.com/twmb/franz-go/pkg/sr",
		},
	},
	{
		name:  "internal packages are the innermost: they know no package that is built on them",
		of:    []string{"./internal/..."},
		scope: product,
		never: []string{"./outbox/...", "./inbox/...", "./examples/...", "./pulsectl/..."},
		but:   []string{"./outbox/wire/..."},
	},
	{
		name: "the cores import little: no CLI, broker, web or test package",
		of:   []string{"./outbox", "./inbox"},
		only: []string{
			"./inbox/internal/...", "./outbox/wire", "./internal/clip", "./internal/cursor", "./internal/sqldb", "./internal/correlation", "./internal/backoff", "./internal/health", "./internal/telemetry",
			"github.com/jmoiron/sqlx/...", "github.com/google/uuid",
			// The OpenTelemetry API, not its SDK.
			"go.opentelemetry.io/otel", "go.opentelemetry.io/otel/attribute/...", "go.opentelemetry.io/otel/baggage",
			"go.opentelemetry.io/otel/codes", "go.opentelemetry.io/otel/propagation/...", "go.opentelemetry.io/otel/trace/...",
			// What that API imports itself.
			"go.opentelemetry.io/otel/internal/...", "go.opentelemetry.io/otel/log/...", "go.opentelemetry.io/otel/metric/...", "go.opentelemetry.io/otel/semconv/...",
			"go.opentelemetry.io/auto/sdk/...", "github.com/cespare/xxhash/v2", "github.com/go-logr/...",
		},
		scope: product,
	},
	{
		name:   "the outbox knows no inbox: what they share is the wire contract",
		of:     []string{"./outbox/..."},
		except: []string{"./outbox/roles"}, // whose tests try the roles of both, see the rule after next
		scope:  everywhere,
		never:  []string{"./inbox/..."},
	},
	{
		name:  "the inbox knows no outbox: what they share is the wire contract",
		of:    []string{"./inbox/..."},
		scope: everywhere,
		never: []string{"./outbox/..."},
		but:   []string{"./outbox/wire/...", "./outbox/sqlite", "./outbox/postgres", "./outbox/openbao", "./outbox/roles"}, // the latter four serve both, see the next rule
	},
	{
		name:  "the packages that open databases, get passwords or grant rights know neither library",
		of:    []string{"./outbox/sqlite", "./outbox/postgres", "./outbox/openbao", "./outbox/roles"},
		scope: product,
		never: []string{"./..."},
		but:   []string{"./internal/sqlite", "./internal/postgres", "./internal/sqldb"},
	},
	{
		name:  "the libraries know neither the examples nor the CLI; their tests may use the development broker",
		of:    []string{"./outbox/...", "./inbox/..."},
		scope: everywhere,
		never: []string{"./examples/...", "./pulsectl/..."},
		but:   []string{"./pulsectl/devbroker/..."},
	},
	{
		name:   "the libraries and the examples are built without the development broker",
		of:     []string{"./outbox/...", "./inbox/...", "./examples/..."},
		except: []string{"./examples/internal/exampletest/..."},
		scope:  product,
		never:  []string{"./pulsectl/devbroker/..."},
	},
	{
		name:   "the examples' domain is free of the web",
		of:     []string{"./examples/orders/...", "./examples/notifications/...", "./examples/money/..."},
		scope:  product,
		direct: true, // the libraries below import net/http for the headers' sake
		never:  []string{"net/http/...", "./examples/stdlib/...", "./examples/gin/..."},
	},
	{
		name:   "the examples use the public API alone, as a reader's service would",
		of:     []string{"./examples/..."},
		except: []string{"./examples/internal/exampletest", "./examples/databases/internal/databasetest"},
		scope:  product,
		direct: true, // the libraries below are built on internal packages
		never:  []string{"./internal/..."},
	},
	{
		// No public package starts a PostgreSQL or a RabbitMQ for a test, or issues
		// its certificates.
		name:   "the examples' tests add to the public API real servers and certificates only",
		of:     []string{"./examples/..."},
		scope:  everywhere,
		direct: true,
		never:  []string{"./internal/..."},
		but:    []string{"./internal/testenv", "./internal/certtest"},
	},
	{
		name:  "the examples know nothing of the CLI but its package for services; their tests may use the development broker",
		of:    []string{"./examples/..."},
		scope: everywhere,
		never: []string{"./pulsectl/..."},
		but:   []string{"./pulsectl/devbroker/...", "./pulsectl/pending"},
	},
	{
		name:  "the stdlib stack is built without the gin stack",
		of:    []string{"./examples/stdlib/..."},
		scope: everywhere,
		never: []string{"./examples/gin/..."},
	},
	{
		name:  "the gin stack is built without the stdlib stack",
		of:    []string{"./examples/gin/..."},
		scope: everywhere,
		never: []string{"./examples/stdlib/..."},
	},
	{
		name:  "what the stacks share knows none of them",
		of:    []string{"./examples/internal/..."},
		scope: everywhere,
		never: []string{"./examples/stdlib/...", "./examples/gin/..."},
	},
	{
		name:   "Gin and GORM stay in their stack",
		of:     []string{"./..."},
		except: []string{"./examples/gin/..."},
		scope:  product,
		never:  frameworks,
	},
	{
		name:  "pulsectl runs the stdlib stack, never the gin stack",
		of:    []string{"./pulsectl/..."},
		scope: product,
		never: []string{"./examples/gin/..."},
	},
	{
		name:  "pulsectl compiles nothing that is heavy and of no use to it: no client of Docker, no second SQLite",
		of:    []string{"./pulsectl/..."},
		scope: product,
		never: []string{
			"github.com/docker/...", "github.com/moby/...", "modernc.org/...", "github.com/tetratelabs/wazero/...",
		},
	},
	{
		name:  "the checker of fault runs shares no code with what it judges",
		of:    []string{"./pulsectl/internal/chaos/check"},
		scope: product,
		only:  []string{"./pulsectl/internal/chaos/check"},
	},
	{
		name:  "the web page that services mount knows no command line, no terminal and no stack",
		of:    []string{"./pulsectl/ui", "./pulsectl/internal/page"},
		scope: product,
		never: []string{
			"./pulsectl/internal/command/...", "./pulsectl/internal/env", "./pulsectl/internal/console", "./pulsectl/internal/stack", "./pulsectl/devbroker/...", "./examples/...",
			"github.com/urfave/cli/...", "github.com/charmbracelet/...", "charm.land/...",
			"go.opentelemetry.io/otel/sdk/...", "go.opentelemetry.io/otel/exporters/...", "github.com/prometheus/...",
		},
	},
	{
		name:  "the development broker is a leaf",
		of:    []string{"./pulsectl/devbroker/..."},
		scope: product,
		never: []string{"./..."},
		but:   []string{"./pulsectl/devbroker/..."},
	},
	{
		name:  "the development broker's tests use nothing of ours but real servers to compare with",
		of:    []string{"./pulsectl/devbroker/..."},
		scope: tests,
		never: []string{"./..."},
		but:   []string{"./pulsectl/devbroker/...", "./internal/testenv/...", "./internal/netfault"},
	},
	{
		name:   "the command-line package stays below pulsectl",
		of:     []string{"./..."},
		except: []string{"./pulsectl/..."},
		scope:  everywhere,
		never:  []string{"github.com/urfave/cli/..."},
	},
	{
		name:   "what is built into programs contains nothing that is for tests",
		of:     []string{"./..."},
		except: ownForTests,
		scope:  product,
		never:  slices.Concat(ownForTests, othersForTests),
	},
}

// soleImporters lists packages that one package of ours at most imports, so
// that there is one place to look at.
var soleImporters = []string{"github.com/charmbracelet/lipgloss"}
