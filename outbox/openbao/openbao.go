// Package openbao gets user names and passwords for PostgreSQL and RabbitMQ from
// OpenBao or HashiCorp Vault: fixed ones from the key-value engine, and ones that
// the database and RabbitMQ engines make for one service and delete after a while.
//
//	bao, err := openbao.New(openbao.Config{Login: openbao.Kubernetes{Role: "orders"}})
//	database := bao.Database("database", "orders")
//	broker := bao.RabbitMQ("rabbitmq", "orders")
//	go bao.Run(ctx) // renews
//
//	db, err := postgres.Open(postgres.Config{URL: base, GetURL: database.URL(base)})
//	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: url, Credentials: broker.Credentials})
//
// A [Secret] is asked at each connect, as files with secrets are. While the server
// of the secrets is away, what was got before goes on being used until it expires;
// so a service runs on, and only a new one has to wait.
//
// The package imports neither library: a service that has only an inbox uses it as
// well. It speaks the HTTP API that OpenBao and Vault document and share. Its tests
// run against that contract, not against a server of either.
package openbao

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openbao/openbao/api/v2"
)

const (
	defaultTimeout   = 10 * time.Second
	defaultFreshness = 5 * time.Second
	// impatience limits a request that there is something to fall back on for.
	impatience = 2 * time.Second
)

// Config holds the settings of a Client. Only Login is required.
type Config struct {
	// API is the client of the server, with its address, namespace and TLS. It
	// belongs to the Client from then on, which sets its token. Defaults to one
	// made from the environment: BAO_ADDR, BAO_CACERT and the others, or the same
	// with VAULT_.
	API *api.Client
	// Login obtains a token: AppRole, Kubernetes or Token.
	Login Login
	// Timeout limits each request to the server. Defaults to 10 s.
	Timeout time.Duration
	// Freshness is how long a secret is used without asking the server whether it
	// has changed or been revoked. A connect after that asks. Defaults to 5 s.
	Freshness time.Duration
	// Logger gets what goes wrong, never a secret. Defaults to slog.Default.
	Logger *slog.Logger
}

// Client is a session with the server. Its methods may be called from several
// goroutines.
type Client struct {
	cfg Config
	api *api.Client
	log *slog.Logger

	session chan struct{} // holds one value while nobody uses token
	token   lease
	// logins counts tokens. The users that were made for a token are deleted with
	// it.
	logins atomic.Int64

	mu      sync.Mutex
	secrets []*Secret
	wake    chan struct{} // tells Run of a lease
}

// New returns a Client. It does not connect: the server may be away.
func New(cfg Config) (*Client, error) {
	if cfg.Login == nil {
		return nil, errors.New("openbao: Config.Login is missing: AppRole, Kubernetes or Token")
	}
	if err := cfg.Login.check(); err != nil {
		return nil, fmt.Errorf("openbao: Config.Login: %w", err)
	}
	if cfg.API == nil {
		settings := api.DefaultConfig()
		if settings.Error != nil {
			return nil, fmt.Errorf("openbao: environment: %w", settings.Error)
		}
		client, err := api.NewClient(settings)
		if err != nil {
			return nil, fmt.Errorf("openbao: environment: %w", err)
		}
		cfg.API = client
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, defaultTimeout)
	cfg.Freshness = cmp.Or(cfg.Freshness, defaultFreshness)
	// A caller that connects tries again by itself, and may go on with what it has.
	cfg.API.SetMaxRetries(0)
	c := &Client{
		cfg: cfg, api: cfg.API, log: cmp.Or(cfg.Logger, slog.Default()).With("server", cfg.API.Address()),
		session: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	c.session <- struct{}{}
	return c, nil
}

// Close revokes the token, and with it every user that was made for this Client:
// call it when all connections are closed. A token that was given (Token) is left
// alone. Without Close the server deletes the users when their leases expire.
func (c *Client) Close(ctx context.Context) error {
	if _, given := c.cfg.Login.(Token); given {
		return nil
	}
	if err := acquire(ctx, c.session); err != nil {
		return err
	}
	defer release(c.session)
	if c.token.zero() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	c.token = lease{}
	if err := c.api.Auth().Token().RevokeSelfWithContext(ctx, ""); err != nil {
		return fmt.Errorf("openbao: revoke the token: %w", brief(err))
	}
	return nil
}

// request calls the server with a token. A token that the server no longer knows is
// replaced once.
func (c *Client) request(ctx context.Context, call func(context.Context) (*api.Secret, error)) (*api.Secret, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	used, err := c.authenticate(ctx, lease{})
	if err != nil {
		return nil, err
	}
	secret, err := call(ctx)
	err = brief(err)
	if status(err) != http.StatusForbidden {
		return secret, err
	}
	// The token is unknown, or its policies do not allow this: a new one for each
	// try would not help, and stay until it expires.
	if _, unknown := c.api.Auth().Token().LookupSelfWithContext(ctx); unknown == nil {
		return nil, err
	}
	if _, err := c.authenticate(ctx, used); err != nil {
		return nil, err
	}
	secret, err = call(ctx)
	return secret, brief(err)
}

// authenticate logs in if there is no token, if it is close to its end, or if it is
// the one that was refused, and returns the token's lease.
func (c *Client) authenticate(ctx context.Context, refused lease) (lease, error) {
	if err := acquire(ctx, c.session); err != nil {
		return lease{}, err
	}
	defer release(c.session)
	begin := time.Now()
	valid := !c.token.zero() && !c.token.expired(begin) && c.token != refused
	if valid && !c.token.ending(begin) {
		return c.token, nil
	}
	before := c.api.Token()
	token, granted, err := c.cfg.Login.login(ctx, c.api)
	if err = brief(err); err != nil {
		c.api.SetToken(before)
		if valid && !definite(err) {
			return c.token, nil
		}
		return lease{}, fmt.Errorf("log in: %w", err)
	}
	c.api.SetToken(token)
	if token != before {
		c.logins.Add(1)
	}
	granted.from = begin
	c.token = granted
	c.rouse()
	return c.token, nil
}

// rouse makes Run look at the leases again.
func (c *Client) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// acquire waits for a lock, no longer than the context lasts: its holder may be
// waiting for a server that does not answer.
func acquire(ctx context.Context, lock chan struct{}) error {
	select {
	case <-lock:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func release(lock chan struct{}) { lock <- struct{}{} }

// refusal is an answer of the server that is an error.
type refusal struct {
	status  int
	reasons []string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server answers %d: %s", r.status, strings.Join(strings.Fields(strings.Join(r.reasons, "; ")), " "))
}

// brief makes one line of the error of an answer.
func brief(err error) error {
	if answer := new(api.ResponseError); errors.As(err, &answer) {
		return &refusal{answer.StatusCode, answer.Errors}
	}
	return err
}

// status is the status of the server's answer, or 0 if it gave none.
func status(err error) int {
	if answer := new(refusal); errors.As(err, &answer) {
		return answer.status
	}
	return 0
}

// definite reports whether the server has said no, in contrast to one that is
// sealed, overloaded, a standby or away.
func definite(err error) bool {
	switch status(err) {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return true
	}
	return errors.Is(err, errNothing)
}

var errNothing = errors.New("there is nothing at this path")
