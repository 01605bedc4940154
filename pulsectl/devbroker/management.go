package devbroker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

const (
	managementTimeout   = 30 * time.Second // of one request
	maxManagementHeader = 16 << 10
	managementStop      = 3 * time.Second // for requests in progress when the broker goes down
	managementBody      = 256 << 20       // a message in base64, and some more
)

// Management serves a part of RabbitMQ's management API, for tests and health
// checks: lists and counts, connections and closing them, users, permissions,
// virtual hosts, queues, exchanges, bindings, publishing and getting messages,
// health checks, and the export of definitions. Paths, JSON and status codes
// are RabbitMQ's. Users log in with HTTP basic authentication and need one of
// the tags management, policymaker, monitoring and administrator, the last to
// change what is outside a virtual host. With Config.ManagementAddr the broker
// serves it itself.
func (b *Broker) Management() http.Handler {
	mux := http.NewServeMux()
	for _, r := range slicesOf(readRoutes, changeRoutes) {
		mux.HandleFunc(r.pattern, func(w http.ResponseWriter, req *http.Request) {
			req.Body = http.MaxBytesReader(w, req.Body, managementBody)
			b.answerManagement(w, req, r)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { mux.ServeHTTP(w, withSlashes(req)) })
}

// slash replaces a part of a path that is "/", such as the name of the virtual
// host, which the multiplexer would take for the path's end.
const slash = "\x00"

func withSlashes(req *http.Request) *http.Request {
	parts := strings.Split(strings.TrimRight(req.URL.EscapedPath(), "/"), "/")
	for i, part := range parts {
		if strings.EqualFold(part, "%2F") {
			parts[i] = url.PathEscape(slash)
		}
	}
	escaped := strings.Join(parts, "/")
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return req
	}
	changed := *req
	changed.URL = &url.URL{Path: path, RawPath: escaped, RawQuery: req.URL.RawQuery}
	return &changed
}

// part returns a part of the path by its name in the pattern, "" if the pattern
// has none.
func (m *managed) part(name string) string {
	if part := m.req.PathValue(name); part != slash {
		return part
	}
	return "/"
}

func slicesOf(all ...[]route) (routes []route) {
	for _, some := range all {
		routes = append(routes, some...)
	}
	return routes
}

// route is one operation of the API.
type route struct {
	pattern string
	admin   bool // only for administrators
	// do returns the answer, which is encoded as JSON, nil for no content. The
	// lock is not held.
	do func(m *managed) (any, error)
}

// managed is one request.
type managed struct {
	b    *Broker
	req  *http.Request
	user *user
	// status of the answer, if not the default.
	status int
}

// httpError is an error with its status, in the form of the management API.
type httpError struct {
	status int
	Kind   string `json:"error"`
	Reason any    `json:"reason"`
}

func (e *httpError) Error() string { return e.Kind }

func badRequest(reason string) error {
	return &httpError{status: http.StatusBadRequest, Kind: "bad_request", Reason: reason}
}

var (
	errNoObject   = &httpError{status: http.StatusNotFound, Kind: "Object Not Found", Reason: "Not Found"}
	errLogin      = &httpError{status: http.StatusUnauthorized, Kind: "not_authorized", Reason: "Login failed"}
	errNoManager  = &httpError{status: http.StatusUnauthorized, Kind: "not_authorized", Reason: "Not management user"}
	errNoAdmin    = &httpError{status: http.StatusUnauthorized, Kind: "not_authorized", Reason: "Not administrator user"}
	errNotAllowed = &httpError{status: http.StatusUnauthorized, Kind: "not_authorized", Reason: "User not authorised to access virtual host"}
)

func (b *Broker) answerManagement(w http.ResponseWriter, req *http.Request, r route) {
	m := &managed{b: b, req: req}
	answer, err := m.run(r)
	var failed *httpError
	switch {
	case errors.As(err, &failed):
		if failed.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="RabbitMQ Management"`)
		}
		writeJSON(w, failed.status, failed)
	case errors.Is(err, ErrNotFound):
		writeJSON(w, http.StatusNotFound, errNoObject)
	case err != nil:
		writeJSON(w, http.StatusBadRequest, badRequest(err.Error()))
	case answer == nil && m.status == 0:
		w.WriteHeader(http.StatusNoContent)
	case answer == nil:
		w.WriteHeader(m.status)
	default:
		writeJSON(w, max(m.status, http.StatusOK), answer)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}

// run checks the user's rights and carries out the operation.
func (m *managed) run(r route) (any, error) {
	name, password, _ := m.req.BasicAuth()
	m.b.mu.Lock()
	m.user = m.b.authenticated(name, password)
	var err error
	switch {
	case m.user == nil:
		err = errLogin
	case !m.user.tagged("management", "policymaker", "monitoring", "administrator"):
		err = errNoManager
	case r.admin && !m.user.tagged("administrator"):
		err = errNoAdmin
	}
	m.b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return r.do(m)
}

// sees reports whether the user may read a virtual host. The caller holds the
// lock.
func (m *managed) sees(v *virtualHost) bool {
	return m.user.grants[v.name] != nil || m.user.tagged("monitoring", "administrator")
}

// vhosts returns the virtual host in the path, or all that the user may read.
// The caller holds the lock.
func (m *managed) vhosts() ([]*virtualHost, error) {
	if m.part("vhost") != "" {
		v, err := m.vhost()
		return []*virtualHost{v}, err
	}
	var visible []*virtualHost
	for _, v := range m.b.sortedVHosts() {
		if m.sees(v) {
			visible = append(visible, v)
		}
	}
	return visible, nil
}

// vhost returns the virtual host that the path names. The caller holds the lock.
func (m *managed) vhost() (*virtualHost, error) {
	v := m.b.vhosts[m.part("vhost")]
	switch {
	case v == nil:
		return nil, errNoObject
	case !m.sees(v):
		return nil, errNotAllowed
	}
	return v, nil
}

// body reads the JSON that was sent, if any was.
func (m *managed) body(into any) error {
	decoder := json.NewDecoder(m.req.Body)
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil && m.req.ContentLength != 0 {
		return badRequest("body: " + err.Error())
	}
	return nil
}

// shortNames returns an error if headers or arguments have a name that the protocol
// cannot carry: its length is a byte.
func shortNames(value any) error {
	switch v := value.(type) {
	case map[string]any:
		for name, value := range v {
			if len(name) > math.MaxUint8 {
				return badRequest(fmt.Sprintf("the name %.40q... is longer than 255 bytes", name))
			}
			if err := shortNames(value); err != nil {
				return err
			}
		}
	case []any:
		for _, value := range v {
			if err := shortNames(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// define carries out a method of the protocol as a client of this user would.
func (m *managed) define(method wire.Method) (wire.Method, error) {
	m.b.mu.Lock()
	v, err := m.vhost()
	if err != nil {
		m.b.mu.Unlock()
		return nil, err
	}
	reply, err := m.b.define(m.channel(v), method)
	m.b.settleQueues()
	stored := m.b.store.last
	m.b.mu.Unlock()
	if err != nil {
		return nil, asHTTP(err)
	}
	return reply, m.b.store.awaitSync(stored)
}

// channel makes a channel in a virtual host that nobody is connected to.
func (m *managed) channel(v *virtualHost) *channel {
	return &channel{conn: &conn{b: m.b, user: m.user, vhost: v, out: newOutbound(), gone: true}}
}

// asHTTP turns an exception into the answer that the management API gives.
func asHTTP(err error) error {
	e := asException(err)
	if e == nil {
		return err
	}
	switch e.code {
	case 404:
		return errNoObject
	case 403:
		return &httpError{status: http.StatusUnauthorized, Kind: "not_authorised", Reason: e.text}
	}
	return badRequest(e.text)
}

// serveManagement serves the API until the listener is closed.
func (b *Broker) serveManagement(l net.Listener) {
	server := &http.Server{
		Handler: b.Management(), ReadTimeout: managementTimeout, WriteTimeout: managementTimeout, MaxHeaderBytes: maxManagementHeader,
		ErrorLog: slog.NewLogLogger(b.log.Handler(), slog.LevelDebug),
	}
	if err := server.Serve(l); !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		b.log.Error("management API", "error", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), managementStop)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
	}
}

// ManagementURL returns where the broker serves the management API, credentials included, such as
// "http://guest:guest@127.0.0.1:15673/", or "" if Config.ManagementAddr is.
func (b *Broker) ManagementURL() string {
	if b.cfg.ManagementAddr == "" {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return "http://" + b.cfg.User + ":" + b.cfg.Password + "@" + b.endpoints.management.String() + "/"
}
