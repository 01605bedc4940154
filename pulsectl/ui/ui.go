// Package ui is a web page for whoever operates a service with an outbox or an
// inbox: an overview that is live, the messages with filters, blocked keys, applied
// events, relays, consumers and queues. It is what the command pulsectl ui serves,
// as an http.Handler for a service of yours.
//
//	page, err := ui.New(ui.Config{Outbox: ob, Inbox: in, Prefix: "/pulse"})
//	mux.Handle("/pulse/", authenticated(page))
//
// # Security
//
// The page does not ask who is there: mount it behind your authentication, or where
// nobody else reaches it. It changes nothing unless Config.AllowWrites is set, and
// shows no payload unless Config.ShowPayloads is. Each form carries a token that is
// also in a cookie, and is refused if a browser sends it for another site. The
// content security policy allows no script, style or connection but the page's own,
// which are in the binary; it works without JavaScript too.
//
// Each request is limited in time, and lists are limited in length, so that a big
// table or a database that hangs costs one connection for some seconds. What does
// not answer is shown as such.
package ui

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/page"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// Config says what the page shows. At least one of Outbox, Inbox and Source is
// required.
type Config struct {
	// Outbox is shown, if it is set.
	Outbox *outbox.Outbox
	// Inbox is shown, if it is set.
	Inbox *inbox.Inbox
	// Source has the broker and the queue of the consumer, whose queues are counted.
	// Its other fields are as those of the consumer. Nil: no queues are shown.
	Source *inboxrabbit.SourceConfig

	// Prefix is the path under which the page is mounted, such as "/pulse"; the
	// handler gets requests with it. Empty means the root.
	Prefix string
	// Hosts are the names in the Host header to which the page answers, besides
	// localhost and IP addresses: a protection from DNS rebinding where nothing else
	// checks who asks. Nil means any.
	Hosts []string
	// AllowWrites offers to retry and to discard messages, and to requeue, heal and
	// discard dead letters.
	AllowWrites bool
	// ShowPayloads shows payloads, and values of headers.
	ShowPayloads bool
	// DiscardDir is the directory of the files to which dead letters are written before
	// they are discarded. Empty means that they cannot be discarded on the page.
	DiscardDir string
	// Actor names who makes a request, for the audit of the outbox. Defaults to "web".
	Actor func(*http.Request) string
	// Interval is the time between two looks while somebody has the overview open.
	// Defaults to a second.
	Interval time.Duration
	// QueryLimit is how long one request may take to ask databases and broker.
	// Defaults to five seconds.
	QueryLimit time.Duration
	// Logger receives each change, and failures of the page. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// Page is an http.Handler. It is safe for concurrent use, and reads nothing while
// nobody looks at it.
type Page struct{ handler *page.Handler }

// New returns the page. The error names the field that is wrong. It uses no
// database and no broker yet.
func New(cfg Config) (*Page, error) {
	if cfg.Outbox == nil && cfg.Inbox == nil && cfg.Source == nil {
		return nil, errors.New("ui: Outbox, Inbox, Source: one of them is needed")
	}
	h, err := page.New(page.Config{
		Servers: servers{cfg}, Prefix: cfg.Prefix, Hosts: cfg.Hosts, AllowWrites: cfg.AllowWrites, ShowPayloads: cfg.ShowPayloads, DiscardDir: cfg.DiscardDir,
		Actor: cfg.Actor, Interval: cfg.Interval, QueryLimit: cfg.QueryLimit, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, errors.Join(errors.New("ui: wrong configuration"), err)
	}
	return &Page{h}, nil
}

// ServeHTTP implements http.Handler. The overview's events last as long as the
// browser stays: they change the deadlines of the connection, and a server that
// shuts down should cancel the context of its requests.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Follow keeps the history of the overview until ctx ends, and looks at the servers
// meanwhile, also while nobody has the page open. It is optional: without it the
// history begins when somebody opens the overview.
func (p *Page) Follow(ctx context.Context) { p.handler.Follow(ctx) }

// servers are those of a Config.
type servers struct{ cfg Config }

func (s servers) Outbox(context.Context) (*outbox.Outbox, error) {
	if s.cfg.Outbox == nil {
		return nil, fail.Usagef("", "this page shows no outbox")
	}
	return s.cfg.Outbox, nil
}

func (s servers) Inbox(context.Context) (*inbox.Inbox, error) {
	if s.cfg.Inbox == nil {
		return nil, fail.Usagef("", "this page shows no inbox")
	}
	return s.cfg.Inbox, nil
}

func (s servers) Queues(context.Context) (queues.Reader, error) {
	if s.cfg.Source == nil {
		return queues.Reader{}, fail.Usagef("", "this page shows no queues")
	}
	return queues.Reader{Source: *s.cfg.Source}, nil
}
