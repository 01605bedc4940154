// Command with runs a command with its own PostgreSQL and RabbitMQ server, for
// experiments:
//
//	go run ./internal/testenv/with -- bash
//
// The command gets in its environment two databases (PULSE_OUTBOX_DB,
// PULSE_INBOX_DB), the broker (PULSE_AMQP_URL, and
// PULSE_MANAGEMENT_URL of its management API), and shell commands that stop,
// kill and start the servers, and that block the broker's publishers
// (PULSE_BROKER_STOP_CMD, PULSE_BROKER_KILL_CMD, PULSE_DB_STOP_CMD, ...); with prints them for a second
// terminal. When the command ends, the servers are
// stopped and their data is deleted. Package testenv says where the servers
// come from; tests do not need this program.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/keeperclient"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: go run ./internal/testenv/with -- command [argument...]")
		os.Exit(2)
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run starts the servers, runs the command, removes the servers and returns
// the command's exit code.
func run(args []string) (code int, err error) {
	fmt.Fprintln(os.Stderr, "starting PostgreSQL and RabbitMQ ...")
	client, err := keeperclient.Join()
	if err != nil {
		return 0, err
	}
	var servers []*keeperclient.Server
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.Remove())
		}
	}()
	for _, kind := range []protocol.Kind{protocol.Postgres, protocol.ManagedRabbitMQ} {
		s, err := client.Make(kind)
		if err != nil {
			return 0, err
		}
		servers = append(servers, s)
		for _, note := range s.Notes {
			fmt.Fprintln(os.Stderr, note)
		}
	}
	env, err := environment(servers[0], servers[1])
	if err != nil {
		return 0, err
	}
	for _, line := range env {
		name, value, _ := strings.Cut(line, "=")
		fmt.Fprintf(os.Stderr, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	// Ctrl-C also goes to the command, which decides what it means.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	err = cmd.Run()
	// The command has reported the problem itself.
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// environment creates the databases and returns the variables.
func environment(postgres, rabbitmq *keeperclient.Server) ([]string, error) {
	outbox, err := createDatabase(postgres.URL, "orders")
	if err != nil {
		return nil, err
	}
	inbox, err := createDatabase(postgres.URL, "notifications")
	if err != nil {
		return nil, err
	}
	return []string{
		"PULSE_OUTBOX_DB=" + outbox,
		"PULSE_INBOX_DB=" + inbox,
		"PULSE_AMQP_URL=" + rabbitmq.URL,
		"PULSE_MANAGEMENT_URL=" + rabbitmq.ManagementURL,
		"PULSE_BROKER_STOP_CMD=" + rabbitmq.StopCommand(protocol.Graceful),
		"PULSE_BROKER_KILL_CMD=" + rabbitmq.StopCommand(protocol.Kill),
		"PULSE_BROKER_START_CMD=" + rabbitmq.StartCommand(),
		"PULSE_BROKER_BLOCK_CMD=" + rabbitmq.EvalCommand("rabbit_alarm:set_alarm({"+alarm+", []})."),
		"PULSE_BROKER_UNBLOCK_CMD=" + rabbitmq.EvalCommand("rabbit_alarm:clear_alarm("+alarm+")."),
		"PULSE_DB_STOP_CMD=" + postgres.StopCommand(protocol.Graceful),
		"PULSE_DB_KILL_CMD=" + postgres.StopCommand(protocol.Kill),
		"PULSE_DB_START_CMD=" + postgres.StartCommand(),
	}, nil
}

// alarm is RabbitMQ's alarm of low memory.
const alarm = "{resource_limit, memory, node()}"

// createDatabase creates a database and returns its URL.
func createDatabase(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return u.String(), errors.Join(err, conn.Close(ctx))
}
