package rabbit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
)

// addresses takes a list of brokers apart, each a URL of its own: hosts of one
// URL separated by commas, as in amqp://user:password@one:5672,two:5672/vhost,
// or whole URLs separated by commas.
func addresses(raw string) []string {
	var all []string
	for _, one := range splitURLs(raw) {
		scheme, rest, found := strings.Cut(one, "://")
		if !found {
			return []string{raw}
		}
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		authority, tail := rest[:end], rest[end:]
		at := strings.LastIndex(authority, "@") + 1
		for host := range strings.SplitSeq(authority[at:], ",") {
			all = append(all, scheme+"://"+authority[:at]+host+tail)
		}
	}
	return all
}

// First returns the URL of the first of several brokers.
func First(raw string) string { return addresses(raw)[0] }

// splitURLs splits at commas that a scheme follows; a password may hold others.
func splitURLs(raw string) []string {
	var urls []string
	start := 0
	for i := range len(raw) {
		if rest := raw[i:]; strings.HasPrefix(rest, ",amqp://") || strings.HasPrefix(rest, ",amqps://") {
			urls = append(urls, raw[start:i])
			start = i + 1
		}
	}
	return append(urls, raw[start:])
}

// dialer knows which of several brokers is next. It is for one goroutine.
type dialer struct {
	cfg   Config
	given string   // what order was made of
	order []string // addresses in the order of their turns
	next  int
}

// dial makes a connection to the next broker that takes one, trying each once,
// with the address, the credentials and the certificates of this moment.
func (d *dialer) dial(ctx context.Context) (*Conn, error) {
	if err := d.refresh(ctx); err != nil {
		return nil, err
	}
	var errs []error
	for range d.order {
		address := d.order[d.next%len(d.order)]
		d.next++
		conn, err := d.cfg.dialAddress(ctx, address)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, joinErrors(errs)
}

// refresh asks where the brokers are. The order is random, so that clients
// spread over them, and kept for as long as the answer is the same.
func (d *dialer) refresh(ctx context.Context) error {
	raw := d.cfg.URL
	if d.cfg.GetURL != nil {
		ctx, cancel := context.WithTimeout(ctx, d.cfg.DialTimeout)
		defer cancel()
		var err error
		if raw, err = d.cfg.GetURL(ctx); err != nil {
			return fmt.Errorf("ask for the broker's URL: %w", err)
		}
		if err := errors.Join(urlProblems(raw)...); err != nil {
			return fmt.Errorf("the broker's URL: %w", err)
		}
	}
	if raw != d.given {
		d.given, d.order, d.next = raw, addresses(raw), 0
		rand.Shuffle(len(d.order), func(i, j int) { d.order[i], d.order[j] = d.order[j], d.order[i] })
	}
	return nil
}

// dialAddress makes one connection, with the credentials and certificates of
// this moment.
func (c Config) dialAddress(ctx context.Context, address string) (*Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.DialTimeout, fmt.Errorf("no answer within %v", c.DialTimeout))
	defer cancel()
	if c.Credentials != nil {
		user, password, err := c.Credentials(ctx)
		if err != nil {
			return nil, fmt.Errorf("connect to %s: ask for credentials: %w", RedactURL(address), err)
		}
		u, err := url.Parse(address)
		if err != nil {
			return nil, fmt.Errorf("URL: cannot be parsed; %s", urlHint)
		}
		u.User = url.UserPassword(user, password)
		address = u.String()
	}
	secure := c.TLS
	if c.GetTLS != nil {
		var err error
		if secure, err = c.GetTLS(ctx); err != nil {
			return nil, fmt.Errorf("connect to %s: ask for TLS settings: %w", RedactURL(address), err)
		}
	}
	return c.handshake(ctx, address, secure)
}

// joinErrors is errors.Join on one line: it goes into logs and health.
func joinErrors(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	slices.Sort(texts)
	return &dialError{text: cmp.Or(strings.Join(slices.Compact(texts), "; "), "no broker is known"), errs: errs}
}

// dialError says why none of several brokers could be connected to.
type dialError struct {
	text string
	errs []error
}

func (e *dialError) Error() string   { return e.text }
func (e *dialError) Unwrap() []error { return e.errs }
