package api

import (
	"context"
	"errors"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A service on a developer's machine has no login, and so any web page the
// developer looks at could use it through the browser: by a form or a simple
// request to localhost (CSRF), or by a name of the page's own that suddenly
// leads to 127.0.0.1 (DNS rebinding). What a browser sends along gives both away.

// ErrCutOff is the cause of a request's context that the service has ended
// itself, because it stops.
var ErrCutOff = errors.New("the service is stopping")

type hostsKey struct{}

// ServedOn returns the context of a server's connections. Requests whose
// context comes from it have to be for one of hosts, for an IP address, for
// localhost, or for a name without a dot, as services have within a cluster.
// None of these can be a web page's own name. A host that begins with a dot
// stands for all below it, "*" for any.
func ServedOn(ctx context.Context, hosts []string) context.Context {
	return context.WithValue(ctx, hostsKey{}, hosts)
}

// refuseStrangers returns why a request may be a web page's of another site.
// Handlers that are mounted on a server of somebody else's do not look at the
// host: that is the server's to know.
func refuseStrangers(r *http.Request) *Error {
	if hosts, ok := r.Context().Value(hostsKey{}).([]string); ok && !hostAllowed(r.Host, hosts) {
		return &Error{
			Status: http.StatusMisdirectedRequest, Code: "unknown_host",
			Message: "this service does not go by the name in the header Host; PULSE_ALLOWED_HOSTS lists further names",
		}
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return &Error{
			Status: http.StatusForbidden, Code: "cross_origin",
			Message: "a web page of another origin may not ask for this",
		}
	}
	return nil
}

func hostAllowed(hostport string, allowed []string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]") // without a port
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if net.ParseIP(host) != nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") {
		return true
	}
	return slices.ContainsFunc(allowed, func(name string) bool {
		name = strings.ToLower(name)
		return name == "*" || name == host || strings.HasPrefix(name, ".") && strings.HasSuffix(host, name)
	})
}

// requireJSON refuses a body that says to be something else than JSON. One that
// says nothing is taken: a browser that lets a page send it so names the page's
// origin.
func requireJSON(r *http.Request) error {
	given := r.Header.Values("Content-Type")
	if len(given) == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(given[0])
	charset := strings.ToLower(params["charset"])
	if len(given) > 1 || err != nil || kind != "application/json" || charset != "" && charset != "utf-8" {
		return &Error{
			Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
			Message: "the body has to be JSON, with the header Content-Type: application/json",
		}
	}
	return nil
}
