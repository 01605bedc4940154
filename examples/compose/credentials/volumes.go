package main

import (
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"github.com/asimalizada/pulse-events/examples/auth"
)

// Names as docker-compose.yml and package setup have them. A service logs in by its
// own name.
const (
	postgresHost  = "postgres:5432"
	rabbitmqHost  = "rabbitmq:5672"
	databaseOwner = "pulse_owner"
	brokerAdmin   = "pulse"

	databaseFile = "database-url"
	amqpFile     = "amqp-url"
	tokensFile   = "tokens"
)

// rabbitmqConf has the broker's settings except its user. It is embedded, not
// mounted from the working tree, because the daemon may run on another machine.
//
//go:embed rabbitmq.conf
var rabbitmqConf string

// volumes is the directory that holds a volume for each reader:
//
//	postgres        passwords of the superuser, of the owner of the tables, and of each service's role
//	rabbitmq        those of the administrator and of each service's user, and the broker's settings
//	api             the token for the APIs of both services, which no container reads
//	orders          where the database and the broker are, and the token's hash
//	notifications   the same for the other service
//
// The passwords in the volumes of the servers are authoritative: a server reads
// that of its administrator once, at its first start, so they are never changed.
// All other files are derived from them and written again at every run, so that the
// next run completes one that was interrupted, or one of an earlier version.
type volumes string

// fill creates what is missing.
func (v volumes) fill() (err error) {
	lock := flock.New(v.file("postgres", ".lock"))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()

	passwords := make(map[string]string) // by volume and name
	for _, name := range []string{
		"postgres/postgres", "postgres/" + databaseOwner, "postgres/orders", "postgres/notifications",
		"rabbitmq/broker", "rabbitmq/orders", "rabbitmq/notifications", "api/pulsectl",
	} {
		if passwords[name], err = keepPassword(v.file(name + ".password")); err != nil {
			return err
		}
	}
	broker := fmt.Sprintf("default_user = %s\ndefault_pass = %s\n", brokerAdmin, passwords["rabbitmq/broker"])
	tokens := tokenLine("pulsectl", passwords["api/pulsectl"])
	for _, f := range []struct{ path, content string }{
		{v.file("rabbitmq", "10-pulse-events.conf"), rabbitmqConf + broker},
		{v.file("orders", databaseFile), databaseAddress("orders", passwords["postgres/orders"], "orders") + "\n"},
		{v.file("orders", amqpFile), amqpAddress("orders", passwords["rabbitmq/orders"]) + "\n"},
		{v.file("orders", tokensFile), tokens},
		{v.file("notifications", tokensFile), tokens},
		{v.file("notifications", databaseFile), databaseAddress("notifications", passwords["postgres/notifications"], "notifications") + "\n"},
		{v.file("notifications", amqpFile), amqpAddress("notifications", passwords["rabbitmq/notifications"]) + "\n"},
	} {
		if err := put(f.path, f.content); err != nil {
			return err
		}
	}
	return nil
}

// addresses are what an operator's client needs, with host names inside the
// network: it may do more than the services.
type addresses struct {
	OutboxDB string `json:"outboxDb"`
	InboxDB  string `json:"inboxDb"`
	AMQPURL  string `json:"amqpUrl"`
	APIToken string `json:"apiToken"`
}

func (v volumes) addresses() (a addresses, err error) {
	secrets := make(map[string]string)
	for _, name := range []string{"postgres/" + databaseOwner, "rabbitmq/broker", "api/pulsectl"} {
		content, err := os.ReadFile(v.file(name + ".password"))
		if errors.Is(err, fs.ErrNotExist) {
			return addresses{}, fmt.Errorf("no credentials yet: they are made when the services first start (%w)", err)
		} else if err != nil {
			return addresses{}, err
		}
		secrets[name] = strings.TrimSpace(string(content))
	}
	owner := secrets["postgres/"+databaseOwner]
	return addresses{
		OutboxDB: databaseAddress(databaseOwner, owner, "orders"),
		InboxDB:  databaseAddress(databaseOwner, owner, "notifications"),
		AMQPURL:  amqpAddress(brokerAdmin, secrets["rabbitmq/broker"]),
		APIToken: secrets["api/pulsectl"],
	}, nil
}

// tokenLine is a line of a file of tokens, by package examples/auth: the token
// may do everything.
func tokenLine(name, secret string) string {
	return auth.Token{Name: name, Hash: sha256.Sum256([]byte(secret)), Scopes: auth.Scopes(), Customer: auth.AnyCustomer}.String() + "\n"
}

func (v volumes) file(path ...string) string {
	return filepath.Join(append([]string{string(v)}, path...)...)
}

func databaseAddress(user, password, database string) string {
	return address("postgres", user, password, postgresHost, "/"+database, "sslmode=disable")
}

func amqpAddress(user, password string) string {
	return address("amqp", user, password, rabbitmqHost, "/", "")
}

func address(scheme, user, password, host, path, query string) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(user, password), Host: host, Path: path, RawQuery: query}
	return u.String()
}
