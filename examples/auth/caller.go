package auth

import (
	"context"
	"slices"
)

// Scopes of the example services.
const (
	OrdersWrite       = "orders:write"
	OrdersRead        = "orders:read"
	NotificationsRead = "notifications:read"
)

// Scopes lists all of them.
func Scopes() []string { return []string{OrdersWrite, OrdersRead, NotificationsRead} }

// AnyCustomer stands for every customer.
const AnyCustomer = "*"

// Caller is who makes a request.
type Caller struct {
	// Name of the token, or the subject of a JWT. Printable and short.
	Name string
	// Scopes are what the caller may do.
	Scopes []string
	// Customer is the only one the caller may act for, or AnyCustomer.
	Customer string
}

// Anybody is the caller where nobody is asked: it may do everything.
func Anybody() Caller { return Caller{Scopes: Scopes(), Customer: AnyCustomer} }

// May reports whether the caller has a scope.
func (c Caller) May(scope string) bool { return slices.Contains(c.Scopes, scope) }

// ActsFor reports whether the caller may see and change what belongs to a
// customer.
func (c Caller) ActsFor(customer string) bool {
	return c.Customer == AnyCustomer || c.Customer != "" && c.Customer == customer
}

type callerKey struct{}

// WithCaller returns ctx with who makes the request.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns who makes the request of ctx. The zero Caller, where it is
// not known, may do nothing.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
