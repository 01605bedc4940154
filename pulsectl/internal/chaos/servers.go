package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/database"
)

// Servers are servers of the user.
type Servers struct {
	OrdersDB, EffectsDB string // postgres:// URLs; they may be the same
	Broker              string // amqp:// URL
	// Management is the URL of RabbitMQ's management API, without credentials if those
	// of Broker are an administrator's; empty: faults that need it are left out.
	Management string
	// Shell commands; empty: faults that need them are left out.
	BrokerStop, BrokerKill, BrokerStart, BrokerBlock, BrokerUnblock string
	DatabaseStop, DatabaseKill, DatabaseStart                       string

	roles bool // the users may create roles; see Probe
}

// probeLimit bounds the question what the user may do.
const probeLimit = time.Minute

// Probe asks the databases whether their users may create roles, and the broker
// whether its user may make others: faults that need it are left out otherwise.
func (s *Servers) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	if s.Management != "" {
		s.Management = withUser(s.Management, s.Broker)
		if may, err := administrates(ctx, s.Management); err != nil {
			return err
		} else if !may {
			s.Management = ""
		}
	}
	s.roles = true
	for _, databaseURL := range []string{s.OrdersDB, s.EffectsDB} {
		db, _, err := database.Open(databaseURL, observerSession)
		if err != nil {
			return err
		}
		var may bool
		err = db.GetContext(ctx, &may, `SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user`)
		if err := errors.Join(err, db.Close()); err != nil {
			return err
		}
		s.roles = s.roles && may
	}
	return nil
}

// defaultPorts are those of URLs that name none.
var defaultPorts = map[string]string{"postgres": "5432", "postgresql": "5432", "amqp": "5672"}

// ParseServers reads the URLs of servers, separated by commas: a database and a
// broker, or two databases, for orders and effects, and a broker.
func ParseServers(list string) (s Servers, err error) {
	var databases, brokers []string
	for text := range strings.SplitSeq(list, ",") {
		text = strings.TrimSpace(text)
		switch scheme, _, _ := strings.Cut(text, "://"); scheme {
		case "postgres", "postgresql":
			databases = append(databases, text)
		case "amqp":
			brokers = append(brokers, text)
		default: // the text may hold a password
			return s, fmt.Errorf("%q is no scheme for this; use postgres:// and amqp://", scheme)
		}
	}
	if len(brokers) != 1 || len(databases) < 1 || len(databases) > 2 {
		return s, fmt.Errorf("it names %d databases and %d brokers; give one or two, and one", len(databases), len(brokers))
	}
	return Servers{OrdersDB: databases[0], EffectsDB: databases[len(databases)-1], Broker: brokers[0]}, nil
}

// Check reports servers that a run cannot use: there is one proxy before each, which
// has no certificate.
func (s Servers) Check() error {
	var problems []error
	for _, server := range []struct{ what, url string }{{"outbox database", s.OrdersDB}, {"inbox database", s.EffectsDB}, {"broker", s.Broker}} {
		u, err := url.Parse(server.url)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: the URL cannot be parsed", server.what))
		case defaultPorts[u.Scheme] == "":
			problems = append(problems, fmt.Errorf("%s: %q is no scheme for this; use postgres:// and amqp://", server.what, u.Scheme))
		case strings.Contains(u.Host, ","):
			problems = append(problems, fmt.Errorf("%s: give one address, not several", server.what))
		}
	}
	return errors.Join(problems...)
}

// needs lists what kinds of faults need of the user's servers.
func (s Servers) needs() map[Kind]bool {
	return map[Kind]bool{
		BrokerStop: s.BrokerStop != "" && s.BrokerStart != "", BrokerRestart: s.BrokerStop != "" && s.BrokerStart != "",
		BrokerKill: s.BrokerKill != "" && s.BrokerStart != "", BrokerBlock: s.BrokerBlock != "" && s.BrokerUnblock != "",
		BrokerCredentials: s.Management != "", BrokerRevoke: s.Management != "",
		DatabaseStop: s.DatabaseStop != "" && s.DatabaseStart != "", DatabaseKill: s.DatabaseKill != "" && s.DatabaseStart != "",
		DatabaseCredentials: s.roles, DatabaseRevoke: s.roles,
	}
}

// Faults that only embedded servers, and only the user's, can have at all.
var (
	embeddedOnly = []Kind{DatabaseLock, BrokerDropConfirms, BrokerWithholdConfirms, BrokerDelayConfirms, BrokerDuplicate, BrokerDelay, BrokerRefuse, BrokerStall}
	externalOnly = []Kind{DatabaseStop, DatabaseKill, DatabaseTerminate, DatabaseCredentials, DatabaseRevoke, DatabaseClock}
)

// Known returns the kinds of faults that can be injected into the configured
// servers.
func (c Config) Known() []Kind {
	if c.Servers == nil {
		return slices.DeleteFunc(Kinds(), func(k Kind) bool { return slices.Contains(externalOnly, k) })
	}
	return slices.DeleteFunc(Kinds(), func(k Kind) bool { return slices.Contains(embeddedOnly, k) || slices.Contains(c.LeftOut(), k) })
}

// LeftOut returns the kinds of faults that the user's servers could have, if the
// user gave what they need.
func (c Config) LeftOut() (kinds []Kind) {
	if c.Servers == nil {
		return nil
	}
	needs := c.Servers.needs()
	for _, k := range Kinds() {
		if given, needed := needs[k]; needed && !given {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// shell runs a command of the user's. Its output goes to a file: a server that it
// starts may keep its streams open.
func (s *system) shell(ctx context.Context, command string) error {
	log, err := os.OpenFile(filepath.Join(s.cfg.Dir, commandsLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%q: %w; see %s", command, err, log.Name())
	}
	return nil
}

// commandsLog has the output of the user's commands.
const commandsLog = "commands.log"
