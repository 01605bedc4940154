package openbao

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"
)

// Secret is a user name and a password that the server keeps or makes. Its methods
// may be called from several goroutines.
type Secret struct {
	client *Client
	path   string
	pick   func(data map[string]any) (user, password string, err error)

	lock           chan struct{} // holds one value while nobody uses what follows
	user, password string
	lease          lease
	checked        time.Time // when the server last said that it holds
	login          int64     // which token it was made for
}

// Database returns the users that the database engine at mount makes by a role, as
// from database/creds/orders.
func (c *Client) Database(mount, role string) *Secret {
	return c.secret(join(mount, "creds", role), fields("username", "password"))
}

// StaticDatabase returns the one user whose password the database engine at mount
// changes by a static role, as from database/static-creds/orders.
func (c *Client) StaticDatabase(mount, role string) *Secret {
	return c.secret(join(mount, "static-creds", role), fields("username", "password"))
}

// RabbitMQ returns the users that the RabbitMQ engine at mount makes by a role, as
// from rabbitmq/creds/orders.
func (c *Client) RabbitMQ(mount, role string) *Secret {
	return c.secret(join(mount, "creds", role), fields("username", "password"))
}

// KV returns a user and a password that stand in one secret of version 2 of the
// key-value engine at mount, under the keys user and password.
func (c *Client) KV(mount, path, user, password string) *Secret {
	pick := fields(user, password)
	return c.secret(join(mount, "data", path), func(data map[string]any) (string, string, error) {
		inner, ok := data["data"].(map[string]any)
		if !ok {
			return "", "", errNothing // the version was deleted
		}
		return pick(inner)
	})
}

func (c *Client) secret(path string, pick func(map[string]any) (string, string, error)) *Secret {
	s := &Secret{client: c, path: path, pick: pick, lock: make(chan struct{}, 1)}
	s.lock <- struct{}{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets = append(c.secrets, s)
	return s
}

// Credentials returns a user and a password that are valid now. It is made for the
// Credentials of PublisherConfig and SourceConfig. It asks the server if that was
// not done lately: for a new user if the old one is expired, revoked or close to its
// end. If the server does not answer, what was got before is returned until it
// expires. The error says what the server has answered, and holds no secret.
func (s *Secret) Credentials(ctx context.Context) (user, password string, err error) {
	if err := acquire(ctx, s.lock); err != nil {
		return "", "", fmt.Errorf("openbao: %s: %w", s.path, err)
	}
	defer release(s.lock)
	now := time.Now()
	usable := s.user != "" && !s.lease.expired(now)
	if usable && now.Sub(s.checked) < s.client.cfg.Freshness {
		return s.user, s.password, nil
	}
	asked := ctx
	if usable {
		var cancel context.CancelFunc
		asked, cancel = context.WithTimeout(ctx, impatience)
		defer cancel()
	}
	err = s.check(asked)
	if err == nil && (s.lease.ending(time.Now()) || s.login != s.client.logins.Load()) {
		err = s.fetch(asked)
	}
	if err == nil {
		return s.user, s.password, nil
	}
	if !usable || definite(err) || s.lease.expired(time.Now()) {
		return "", "", fmt.Errorf("openbao: %s: %w", s.path, err)
	}
	s.checked = time.Now() // others that connect now need not wait as well
	s.client.log.WarnContext(ctx, "openbao: going on with the credentials at hand", "path", s.path, "error", err)
	return s.user, s.password, nil
}

// URL returns a function for the GetURL of package outbox/postgres: the address,
// which names no user, with the user and the password of now.
func (s *Secret) URL(address string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		scheme, rest, ok := strings.Cut(address, "://")
		if authority, _, _ := strings.Cut(rest, "/"); !ok || strings.Contains(authority, "@") {
			return "", fmt.Errorf("openbao: %s: the address must be a URL without a user, as postgres://host:5432/database", s.path)
		}
		user, password, err := s.Credentials(ctx)
		if err != nil {
			return "", err
		}
		return scheme + "://" + url.UserPassword(user, password).String() + "@" + rest, nil
	}
}

// check makes sure that the server still stands by what is at hand, and extends its
// lease; it gets new credentials if there are none, or none that hold.
func (s *Secret) check(ctx context.Context) error {
	if s.user == "" || s.lease.zero() || s.lease.expired(time.Now()) {
		return s.fetch(ctx)
	}
	err := s.renew(ctx)
	if definite(err) { // revoked: whoever did that wants it to be used no more
		s.client.log.WarnContext(ctx, "openbao: the lease is gone; getting new credentials", "path", s.path, "error", err)
		return s.fetch(ctx)
	}
	return err
}

// renew extends the lease, or asks whether it holds if it cannot be extended.
func (s *Secret) renew(ctx context.Context) error {
	begin := time.Now()
	answer, err := s.client.request(ctx, func(ctx context.Context) (*api.Secret, error) {
		if !s.lease.renewable {
			return s.client.api.Sys().LookupWithContext(ctx, s.lease.id)
		}
		return s.client.api.Sys().RenewWithContext(ctx, s.lease.id, int(s.lease.whole.Seconds()))
	})
	if err != nil {
		return err
	}
	if s.lease.renewable {
		s.lease = s.lease.extended(begin, answer.LeaseDuration, answer.Renewable)
	}
	s.checked = begin
	return nil
}

// fetch gets what the server has at the path now. A user that was made before stays
// until its lease expires: connections may use it.
func (s *Secret) fetch(ctx context.Context) error {
	begin := time.Now()
	answer, err := s.client.request(ctx, func(ctx context.Context) (*api.Secret, error) {
		return s.client.api.Logical().ReadWithContext(ctx, s.path)
	})
	if err != nil {
		return err
	}
	if answer == nil {
		return errNothing
	}
	user, password, err := s.pick(answer.Data)
	if err != nil {
		return err
	}
	s.user, s.password, s.checked, s.login = user, password, begin, s.client.logins.Load()
	ttl := time.Duration(answer.LeaseDuration) * time.Second
	s.lease = lease{}
	if answer.LeaseID != "" {
		s.lease = lease{id: answer.LeaseID, from: begin, ttl: ttl, whole: ttl, renewable: answer.Renewable}
		s.client.rouse()
	}
	return nil
}

// fields returns a function that picks two strings.
func fields(user, password string) func(map[string]any) (string, string, error) {
	return func(data map[string]any) (string, string, error) {
		u, _ := data[user].(string)
		p, _ := data[password].(string)
		if u == "" || p == "" {
			return "", "", fmt.Errorf("the secret must have the texts %q and %q", user, password)
		}
		return u, p, nil
	}
}

func join(parts ...string) string {
	for i := range parts {
		parts[i] = strings.Trim(parts[i], "/")
	}
	return strings.Join(parts, "/")
}
