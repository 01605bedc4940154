package service

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox"
)

// readyTimeout bounds the questions to the database.
const readyTimeout = 2 * time.Second

// Live is what /health/live tells as long as the process lives.
func Live() map[string]string { return map[string]string{"status": "live"} }

// Readiness is what /health/ready tells.
type Readiness struct {
	Status   string         `json:"status"` // ready, unready
	Service  string         `json:"service"`
	Database databaseHealth `json:"database"`
	// How the side that talks to the broker fares. It does not decide: the API
	// works while the broker is away.
	Relay    *relayHealth    `json:"relay,omitempty"`
	Consumer *consumerHealth `json:"consumer,omitempty"`
}

type databaseHealth struct {
	Status  string `json:"status"` // ok, unreachable, schema, failing
	Message string `json:"message,omitempty"`
}

type relayHealth struct {
	State     string    `json:"state"` // starting, running, degraded, stopped
	Since     time.Time `json:"since,omitzero"`
	Connected bool      `json:"connected"` // to the broker
	LastError string    `json:"lastError,omitempty"`
	// Messages since the start.
	Published int64 `json:"published"`
	Failed    int64 `json:"failed"` // attempts that the broker refused
	Dead      int64 `json:"dead"`
	// OldestPending is the age in seconds of the oldest event that should be
	// out by now.
	OldestPending float64 `json:"oldestPendingSeconds"`
}

type consumerHealth struct {
	State     string    `json:"state"` // starting, running, degraded, stopped
	Since     time.Time `json:"since,omitzero"`
	Connected bool      `json:"connected"` // to the broker
	LastError string    `json:"lastError,omitempty"`
	// Messages since the start.
	Applied    int64 `json:"applied"`
	Duplicates int64 `json:"duplicates"`
	Retried    int64 `json:"retried"`
	SetAside   int64 `json:"setAside"` // to the dead letters
}

// Ready completes a report with the state of the database: 200 while it
// answers and has its schema, else 503.
func Ready(ctx context.Context, log *slog.Logger, db *Database, report Readiness) (status int, body Readiness) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := db.check(ctx); err != nil {
		log.WarnContext(ctx, "not ready", "error", err)
		report.Status, report.Database = "unready", diagnose(err)
		return http.StatusServiceUnavailable, report
	}
	report.Status, report.Database = "ready", databaseHealth{Status: "ok"}
	return http.StatusOK, report
}

// diagnose tells apart what is wrong without telling strangers where the
// database is.
func diagnose(err error) databaseHealth {
	switch {
	case errors.Is(err, sqldb.ErrSchema):
		return databaseHealth{"schema", "the schema is missing or behind; run the migrations"}
	case database.Unreachable(err):
		return databaseHealth{"unreachable", "the database does not answer"}
	}
	return databaseHealth{"failing", "the database refuses to answer; see the logs"}
}

// Broker is the side of a service that talks to the broker: a publisher or a
// source.
type Broker interface {
	Health() (connected bool, err error)
}

// ReportRelay tells how the relay of the service of that name fares.
func ReportRelay(name string, h outbox.Health, publisher Broker) Readiness {
	connected, err := publisher.Health()
	if h.State == outbox.RelayRunning && err != nil {
		// A relay with nothing to publish does not notice.
		h.State, h.Since = outbox.RelayDegraded, time.Time{}
	}
	return Readiness{Service: name, Relay: &relayHealth{
		State: string(h.State), Since: h.Since.UTC(), Connected: connected, LastError: firstText(err, h.LastError),
		Published: h.Published, Failed: h.Failed, Dead: h.Dead, OldestPending: h.OldestPending.Seconds(),
	}}
}

// ReportConsumer tells how the consumer of the service of that name fares.
func ReportConsumer(name string, h inbox.Health, source Broker) Readiness {
	connected, err := source.Health()
	if h.State == inbox.Running && err != nil {
		h.State, h.Since = inbox.Degraded, time.Time{}
	}
	return Readiness{Service: name, Consumer: &consumerHealth{
		State: string(h.State), Since: h.Since.UTC(), Connected: connected, LastError: firstText(err, h.LastError),
		Applied: h.Applied, Duplicates: h.Duplicates, Retried: h.Retried, SetAside: h.SetAside,
	}}
}

// firstText returns the text of the first error there is.
func firstText(errs ...error) string {
	for _, err := range errs {
		if err != nil {
			return err.Error()
		}
	}
	return ""
}
