// Package registry keeps contracts in a schema registry with the REST API of
// Confluent's, as Apicurio, Karapace, Redpanda and others have it too:
//
//	client, err := registry.New(registry.Config{URL: "https://registry.example.com"})
//	source, err := client.Cached(ctx, "/var/lib/orders/contracts.zip", "order.created")
//	set, err := contract.Load(source.Files, contract.Config{})
//
// A contract is a version of a subject: order.created/2 is version 2 of subject
// order.created, with Config's prefix and suffix around the name. The registry
// numbers versions itself, without gaps, so contracts have to begin at 1. A version
// never changes. Schemas that contracts share, in directories whose names begin with
// "_", are subjects of their own, _shared.money for _shared/money.json, to which
// versions of contracts refer.
//
// Only who imports this package compiles the client of registries.
package registry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

// Defaults of Config.
const (
	DefaultTimeout  = 10 * time.Second
	DefaultMaxBytes = 4 << 20
)

// attempts is how often a request is made, and pause how long after the first.
const (
	attempts = 3
	pause    = 200 * time.Millisecond
)

// Credentials are sent with each request: a bearer token, or user and password, or
// neither.
type Credentials struct{ Username, Password, Token string }

// Config are the settings of a Client.
type Config struct {
	// URL is the base URL of the registry. User and password in it are sent as
	// Credentials. Required.
	URL string
	// Credentials returns what is sent with a request, so that it can change while a
	// program runs; it is called by several goroutines. Defaults to those of URL.
	Credentials func(ctx context.Context) (Credentials, error)
	// TLS are the settings of connections. Defaults to the system's.
	TLS *tls.Config
	// Prefix and Suffix stand around the names of contracts in those of subjects, such
	// as "-value" for what Kafka's clients look up by topic.
	Prefix, Suffix string
	// Timeout ends each request, its answer included. Defaults to DefaultTimeout.
	// A request is made three times if the registry does not answer, or with 429 or
	// 5xx.
	Timeout time.Duration
	// MaxBytes is the largest answer that is read. Defaults to DefaultMaxBytes.
	MaxBytes int64
}

// Client reads and writes the contracts of a registry. It is safe for concurrent
// use.
type Client struct {
	cfg  Config
	api  *sr.Client
	name string // for errors, without a password
}

// New returns a client. It does not connect.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("registry: URL: not the base URL of a registry, such as https://registry.example.com")
	}
	if cfg.Timeout < 0 || cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("registry: Timeout %v and MaxBytes %d must be positive, or 0 for %v and %d", cfg.Timeout, cfg.MaxBytes, DefaultTimeout, DefaultMaxBytes)
	}
	cfg.Timeout, cfg.MaxBytes = cmp.Or(cfg.Timeout, DefaultTimeout), cmp.Or(cfg.MaxBytes, DefaultMaxBytes)
	if user := u.User; user != nil && cfg.Credentials == nil {
		password, _ := user.Password()
		cfg.Credentials = func(context.Context) (Credentials, error) { return Credentials{user.Username(), password, ""}, nil }
	}
	u.User = nil
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = cfg.TLS
	c := &Client{cfg: cfg, name: u.String()}
	c.api, err = sr.NewClient(sr.URLs(c.name), sr.HTTPClient(&http.Client{Transport: &limited{transport, cfg.MaxBytes}}), sr.UserAgent("pulse-events"), sr.PreReq(c.authorize))
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	return c, nil
}

func (c *Client) authorize(r *http.Request) error {
	if c.cfg.Credentials == nil {
		return nil
	}
	credentials, err := c.cfg.Credentials(r.Context())
	switch {
	case err != nil:
		return &credentialsError{err}
	case credentials.Token != "":
		r.Header.Set("Authorization", "Bearer "+credentials.Token)
	case credentials.Username != "" || credentials.Password != "":
		r.SetBasicAuth(credentials.Username, credentials.Password)
	}
	return nil
}

type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// limited refuses answers that are too large.
type limited struct {
	next  http.RoundTripper
	bytes int64
}

type tooLargeError struct{ bytes int64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the answer has more than %d bytes", e.bytes)
}

func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.next.RoundTrip(r)
	if err == nil {
		answer.Body = &bounded{answer.Body, l.bytes, l.bytes}
	}
	return answer, err
}

// cutError says that an answer broke off.
type cutError struct{ err error }

func (e *cutError) Error() string { return "the answer broke off: " + e.err.Error() }
func (e *cutError) Unwrap() error { return e.err }

// bounded is a body that ends in an error where it is too large.
type bounded struct {
	io.ReadCloser
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &cutError{err}
	}
	if b.left -= int64(n); b.left < 0 {
		return 0, &tooLargeError{b.limit}
	}
	return n, err
}

// Error is an answer of the registry that is none of success. The text names the
// request and the registry's reason.
type Error struct {
	Status  int    // of HTTP
	Code    int    // the registry's own, such as 40401; 0: none
	Message string // the registry's reason, shortened
	what    string
}

func (e *Error) Error() string {
	hint := ""
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		hint = " (check user, password or token)"
	}
	return fmt.Sprintf("%s: %d %s: %s%s", e.what, e.Status, http.StatusText(e.Status), e.Message, hint)
}

// call makes a request, again where that may help.
func (c *Client) call(ctx context.Context, what string, request func(ctx context.Context) error) error {
	what = fmt.Sprintf("registry %s: %s", c.name, what)
	for attempt := 1; ; attempt++ {
		limit, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		err := request(limit)
		timeout, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err)
		slow := ctx.Err() == nil && (limit.Err() != nil || ok && timeout.Timeout())
		cancel()
		if err == nil {
			return nil
		}
		err, again := c.judge(what, err, slow)
		if !again || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause << (attempt - 1)):
		}
	}
}

// maxReason bounds what is repeated of an answer.
const maxReason = 500

// ErrUnreachable matches the errors that say a registry did not answer, or not to the
// end.
var ErrUnreachable = errors.New("the registry cannot be reached")

// unreachable is an error that matches ErrUnreachable.
type unreachable struct{ error }

func (e unreachable) Unwrap() error   { return e.error }
func (unreachable) Is(err error) bool { return err == ErrUnreachable }

// judge names what went wrong, and says whether to try again.
func (c *Client) judge(what string, err error, slow bool) (named error, again bool) {
	if answer, ok := errors.AsType[*sr.ResponseError](err); ok {
		reason := answer.Message
		if reason == "" {
			reason = string(answer.Raw)
		}
		reason = strings.Join(strings.Fields(strings.ToValidUTF8(reason, "?")), " ")
		if len(reason) > maxReason {
			reason = strings.ToValidUTF8(reason[:maxReason], "") + " ..."
		}
		e := &Error{Status: answer.StatusCode, Code: answer.ErrorCode, Message: reason, what: what}
		return e, e.Status == http.StatusTooManyRequests || e.Status >= 500
	}
	failed, _ := errors.AsType[*url.Error](err)
	cut, _ := errors.AsType[*cutError](err)
	large, _ := errors.AsType[*tooLargeError](err)
	absent, _ := errors.AsType[*credentialsError](err)
	switch {
	case slow:
		return unreachable{fmt.Errorf("%s: no answer within %v", what, c.cfg.Timeout)}, true
	case large != nil:
		return fmt.Errorf("%s: %w", what, large), false
	case absent != nil:
		return fmt.Errorf("%s: %w", what, absent), false
	case cut != nil:
		return unreachable{fmt.Errorf("%s: %w", what, cut)}, true
	case failed != nil: // its URL is in what already
		return unreachable{fmt.Errorf("%s: %w", what, failed.Err)}, true
	}
	return fmt.Errorf("%s: not the answer of a schema registry: %w", what, err), false
}

// missing reports whether the registry has no such subject or version.
func missing(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusNotFound
}

// subject returns the subject of a contract, or of a schema that contracts share.
func (c *Client) subject(name string) string { return c.cfg.Prefix + name + c.cfg.Suffix }

// versions returns the versions of a subject, none if there is no such subject.
func (c *Client) versions(ctx context.Context, subject string) (versions []int, err error) {
	err = c.call(ctx, "versions of subject "+subject, func(ctx context.Context) error {
		versions, err = c.api.SubjectVersions(ctx, subject)
		return err
	})
	if missing(err) {
		return nil, nil
	}
	return versions, err
}

// schema returns a version of a subject.
func (c *Client) schema(ctx context.Context, subject string, version int) (s sr.SubjectSchema, err error) {
	err = c.call(ctx, fmt.Sprintf("version %d of subject %s", version, subject), func(ctx context.Context) error {
		s, err = c.api.SchemaByVersion(ctx, subject, version)
		return err
	})
	return s, err
}
