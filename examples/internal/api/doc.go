// Package api is how the example services speak HTTP, whatever framework routes
// their requests: the one shape of errors, the rules for ids and limits in a
// request, correlation, and the line in the access log.
package api
