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

// Names as docker-compose.yml and databases.sql have them.
const (
	postgresHost = "postgres:5432"
	rabbitmqHost = "rabbitmq:5672"
	brokerUser   = "pulse"

	databaseFile = "database-url"
	amqpFile     = "amqp-url"
	tokensFile   = "tokens"
)

// databasesSQL creates roles and databases when PostgreSQL starts for the first
// time. It is embedded, not mounted from the working tree, because the daemon may
// run on another machine.
//
//go:embed databases.sql
var databasesSQL string

// rabbitmqConf has the broker's settings except its user.
//
//go:embed rabbitmq.conf
var rabbitmqConf string

// volumes is the directory that holds a volume for each reader:
//
//	postgres        passwords of the superuser and of each service's role
//	postgres-init   the script that creates roles and databases
//	rabbitmq        the broker's password, and its settings with it
//	api             the token for the APIs of both services, which no container reads
//	orders          where the database and the broker are, and the token's hash
//	notifications   the same for the other service
//
// The passwords in the volumes of the servers are authoritative: a server reads
// its password once, at its first start, so they are never changed. All other
// files are derived from them and written again at every run, so that the next run
// completes one that was interrupted.
type volumes string

// fill creates what is missing.
func (v volumes) fill() (err error) {
	lock := flock.New(v.file("postgres", ".lock"))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()

	passwords := make(map[string]string)
	for _, p := range []struct{ volume, name string }{
		{"postgres", "postgres"}, {"postgres", "orders"}, {"postgres", "notifications"}, {"rabbitmq", "broker"}, {"api", "pulsectl"},
	} {
		if passwords[p.name], err = keepPassword(v.file(p.volume, p.name+".password")); err != nil {
			return err
		}
	}
	amqp := address("amqp", brokerUser, passwords["broker"], rabbitmqHost, "/", "")
	broker := fmt.Sprintf("default_user = %s\ndefault_pass = %s\n", brokerUser, passwords["broker"])
	tokens := tokenLine("pulsectl", passwords["pulsectl"])
	for _, f := range []struct{ path, content string }{
		{v.file("postgres-init", "databases.sql"), databasesSQL},
		{v.file("rabbitmq", "10-pulse-events.conf"), rabbitmqConf + broker},
		{v.file("orders", databaseFile), databaseAddress("orders", passwords["orders"])},
		{v.file("orders", amqpFile), amqp},
		{v.file("orders", tokensFile), tokens},
		{v.file("notifications", tokensFile), tokens},
		{v.file("notifications", databaseFile), databaseAddress("notifications", passwords["notifications"])},
		{v.file("notifications", amqpFile), amqp},
	} {
		if err := put(f.path, f.content); err != nil {
			return err
		}
	}
	return nil
}

// addresses are what a client outside the services needs, with host names
// inside the network.
type addresses struct {
	OutboxDB string `json:"outboxDb"`
	InboxDB  string `json:"inboxDb"`
	AMQPURL  string `json:"amqpUrl"`
	APIToken string `json:"apiToken"`
}

func (v volumes) addresses() (a addresses, err error) {
	for _, f := range []struct {
		path string
		to   *string
	}{
		{v.file("orders", databaseFile), &a.OutboxDB},
		{v.file("notifications", databaseFile), &a.InboxDB},
		{v.file("orders", amqpFile), &a.AMQPURL},
		{v.file("api", "pulsectl.password"), &a.APIToken},
	} {
		content, err := os.ReadFile(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			return addresses{}, fmt.Errorf("no credentials yet: they are made when the services first start (%w)", err)
		} else if err != nil {
			return addresses{}, err
		}
		*f.to = strings.TrimSpace(string(content))
	}
	return a, nil
}

// tokenLine is a line of a file of tokens, by package examples/auth: the token
// may do everything.
func tokenLine(name, secret string) string {
	return auth.Token{Name: name, Hash: sha256.Sum256([]byte(secret)), Scopes: auth.Scopes(), Customer: auth.AnyCustomer}.String() + "\n"
}

func (v volumes) file(volume, name string) string { return filepath.Join(string(v), volume, name) }

// databaseAddress is the address of a database whose owner has its name.
func databaseAddress(name, password string) string {
	return address("postgres", name, password, postgresHost, "/"+name, "sslmode=disable")
}

func address(scheme, user, password, host, path, query string) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(user, password), Host: host, Path: path, RawQuery: query}
	return u.String() + "\n"
}
