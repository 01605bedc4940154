package page

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/live"
)

// Config configures a Handler.
type Config struct {
	// Servers opens outbox, inbox and queues. It is used concurrently.
	Servers live.Servers
	// Stack is the example system that the page breaks, and places orders in. Nil:
	// there is none.
	Stack Stack
	// Name says what is looked at, such as "embedded stack". May be empty.
	Name string
	// Prefix is the path under which the page is, such as "/pulse". Empty: the root.
	Prefix string
	// Hosts are the names under which the page may be reached, besides localhost and
	// IP addresses. Nil: any, for a service that checks who asks.
	Hosts []string
	// AllowWrites shows what changes something, and does it.
	AllowWrites bool
	// ShowPayloads shows payloads and the values of headers.
	ShowPayloads bool
	// DiscardDir is where dead letters are written before they are discarded. Empty:
	// they cannot be discarded here.
	DiscardDir string
	// Actor names who makes a request, for records of changes. Defaults to "web".
	Actor func(*http.Request) string
	// Interval is the time between two looks of the overview. Defaults to a second.
	Interval time.Duration
	// QueryLimit limits what one request asks of databases and broker. Defaults to
	// five seconds.
	QueryLimit time.Duration
	// Logger receives changes that were made, and failures of the page itself.
	// Defaults to slog.Default().
	Logger *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Handler serves the page. It is safe for concurrent use.
type Handler struct {
	cfg  Config
	mux  *http.ServeMux
	feed *feed
}

const (
	defaultInterval   = time.Second
	defaultQueryLimit = 5 * time.Second
)

// New returns a handler. The error names what is wrong with cfg.
func New(cfg Config) (*Handler, error) {
	if cfg.Servers == nil {
		return nil, errors.New("Servers: is nil")
	}
	if cfg.Prefix != "" && (!strings.HasPrefix(cfg.Prefix, "/") || strings.HasSuffix(cfg.Prefix, "/") || strings.ContainsAny(cfg.Prefix, "{}?#% ")) {
		return nil, errors.New("Prefix: has to begin with a slash, not to end with one, and to be a plain path, such as /pulse")
	}
	if cfg.Interval < 0 || cfg.QueryLimit < 0 {
		return nil, errors.New("Interval, QueryLimit: have to be positive")
	}
	cfg.Interval = cmp.Or(cfg.Interval, defaultInterval)
	cfg.QueryLimit = cmp.Or(cfg.QueryLimit, defaultQueryLimit)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Actor == nil {
		cfg.Actor = func(*http.Request) string { return "web" }
	}
	h := &Handler{cfg: cfg, mux: http.NewServeMux()}
	h.feed = newFeed(h)
	h.routes()
	return h, nil
}

func (h *Handler) routes() {
	p := h.cfg.Prefix
	h.mux.Handle("GET "+p+"/assets/", http.StripPrefix(p, http.HandlerFunc(serveAsset)))
	h.mux.HandleFunc("GET "+p+"/events", h.events)
	for pattern, s := range map[string]screen{
		"/{$}": h.overview, "/outbox": h.outbox, "/outbox/{id}": h.message, "/blocked": h.blocked,
		"/inbox": h.inbox, "/workers": h.workers, "/audit": h.audited,
	} {
		h.mux.HandleFunc("GET "+p+pattern, h.show(s, h.cfg.QueryLimit))
	}
	h.mux.HandleFunc("GET "+p+"/trace", h.show(h.trace, lettersLimit))
	h.mux.HandleFunc("GET "+p+"/deadletters", h.show(h.letters, lettersLimit))
	h.mux.HandleFunc("GET "+p+"/deadletters/{ref}", h.show(h.letter, lettersLimit))
	h.mux.HandleFunc(p+"/", h.show(h.nowhere, h.cfg.QueryLimit))
	for pattern, c := range h.changes() {
		h.mux.HandleFunc("POST "+p+pattern, h.change(c))
	}
	for name, t := range h.treatments() {
		h.mux.HandleFunc("POST "+p+"/deadletters/"+name, h.treat(t.title, t.do))
	}
	if p != "" {
		h.mux.Handle("GET "+p, http.RedirectHandler(p+"/", http.StatusMovedPermanently))
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if h.cfg.Hosts != nil && !answersTo(r, h.cfg.Hosts) {
		http.Error(w, "this page answers to localhost, to IP addresses and to the names given with --allow-host", http.StatusMisdirectedRequest)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// Follow keeps the overview's history until ctx ends, also while nobody looks at
// it. Without Follow the history begins when somebody does.
func (h *Handler) Follow(ctx context.Context) { h.feed.keep(ctx) }
