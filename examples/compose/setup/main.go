// Command setup brings the servers of docker-compose.yml to what the services need,
// as their administrator, so that the services themselves may do no more than their
// work.
//
//	setup migrate     roles, databases, tables and rights in PostgreSQL
//	setup topology    exchange and queues, users and permissions in RabbitMQ
//
// Both wait for their server, and change nothing that is as it should be: they run
// whenever the project is started. They read passwords from the directory that
// -passwords names, where package credentials has put them.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Exit codes.
const (
	succeeded = 0
	failed    = 1
	misused   = 2
)

// Names as docker-compose.yml and package credentials have them. A service logs in by
// its own name to PostgreSQL, where its database has that name too, and to RabbitMQ.
const (
	databaseServer = "postgres:5432"
	managementAPI  = "http://rabbitmq:15672"

	superuser = "postgres"
	// The broker's administrator, whose password is in the file of another name.
	brokerAdmin = "pulse"
	brokerFile  = "broker"
)

// limit bounds a run. A broker may take a minute to start.
const limit = 3 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("setup", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: setup [-passwords directory] migrate|topology")
		flags.PrintDefaults()
	}
	dir := flags.String("passwords", "/run/pulse-events", "where the passwords are")
	if err := flags.Parse(args); err != nil {
		return misused
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	p := passwords(*dir)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	switch {
	case flags.NArg() == 1 && flags.Arg(0) == "migrate":
		err = p.migrate(ctx, log)
	case flags.NArg() == 1 && flags.Arg(0) == "topology":
		err = p.topology(ctx, log)
	default:
		flags.Usage()
		return misused
	}
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return failed
	}
	return succeeded
}

// passwords is a directory with a file for each password, named after its user.
type passwords string

// read returns the users with their passwords.
func (p passwords) read(users ...string) (map[string]*url.Userinfo, error) {
	found := make(map[string]*url.Userinfo)
	for _, user := range users {
		content, err := os.ReadFile(filepath.Join(string(p), user+".password"))
		if err != nil {
			return nil, err
		}
		found[user] = url.UserPassword(user, strings.TrimSpace(string(content)))
	}
	return found, nil
}

func (p passwords) migrate(ctx context.Context, log *slog.Logger) error {
	users, err := p.read(superuser, owner, ordersService, notificationsService)
	if err != nil {
		return err
	}
	return (&database{server: databaseServer, users: users, log: log}).setUp(ctx)
}

func (p passwords) topology(ctx context.Context, log *slog.Logger) error {
	users, err := p.read(brokerFile, ordersService, notificationsService)
	if err != nil {
		return err
	}
	password, _ := users[brokerFile].Password()
	return (&broker{management: managementAPI, vhost: "/", admin: url.UserPassword(brokerAdmin, password), users: users, log: log}).setUp(ctx)
}
