package page

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// answersTo reports whether the page is reached under one of its names. A page of
// another site can make its own name point to this server (DNS rebinding), and
// would then count as the same origin; an address cannot be rebound.
func answersTo(r *http.Request, names []string) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	return host == "localhost" || net.ParseIP(host) != nil || slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, host) })
}
