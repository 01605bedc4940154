package chaos

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// account is a user of the broker that the run's processes have for themselves: the
// observer goes on when it is changed.
type account struct{ name, password string }

// at returns the URL of a server with the account's credentials, if there are any.
func (a account) at(serverURL string) string {
	u, err := url.Parse(serverURL)
	if err != nil || a.name == "" {
		return serverURL
	}
	u.User = url.UserPassword(a.name, a.password)
	return u.String()
}

// withUser returns a URL with the credentials of another one, if it has none.
func withUser(of, other string) string {
	u, err := url.Parse(of)
	from, otherErr := url.Parse(other)
	if of == "" || err != nil || otherErr != nil || u.User != nil {
		return of
	}
	u.User = from.User
	return u.String()
}

// makeUser makes the account, if the broker has a management API.
func (s *system) makeUser(ctx context.Context) error {
	if s.managed() == "" {
		return nil
	}
	s.user = account{s.exchange, rand.Text()}
	return s.restoreUser(ctx)
}

// restoreUser makes the account as it was.
func (s *system) restoreUser(ctx context.Context) error {
	return errors.Join(s.setPassword(ctx, s.user.password), s.permit(ctx, everything))
}

func (s *system) deleteUser(ctx context.Context) error {
	if s.user.name == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), manageLimit)
	defer cancel()
	if err := manage(ctx, s.managed(), http.MethodDelete, "users/"+s.user.name, nil); err != nil {
		return fmt.Errorf("the user %s is left behind: %w", s.user.name, err)
	}
	return nil
}

// lockOut changes the account's password or permissions, and cuts all connections:
// a broker asks for the password at the beginning of one, and remembers permissions.
func (s *system) lockOut(ctx context.Context, k Kind) (Healing, error) {
	change, back := func(ctx context.Context) error { return s.setPassword(ctx, rand.Text()) },
		func(ctx context.Context) error { return s.setPassword(ctx, s.user.password) }
	if k == BrokerRevoke {
		change, back = func(ctx context.Context) error { return s.permit(ctx, nothing) },
			func(ctx context.Context) error { return s.permit(ctx, everything) }
	}
	err := change(ctx)
	for _, link := range s.brokerLinks("") {
		link.Cut()
	}
	return back, err
}

// Patterns of names that a user may configure, write and read.
const (
	everything = ".*"
	nothing    = "^$"
)

func (s *system) setPassword(ctx context.Context, password string) error {
	return manage(ctx, s.managed(), http.MethodPut, "users/"+s.user.name, map[string]string{"password": password, "tags": ""})
}

func (s *system) permit(ctx context.Context, names string) error {
	uri, err := amqp.ParseURI(s.broker())
	if err != nil {
		return errors.New("the URL of the broker cannot be parsed") // it may hold a password
	}
	return manage(ctx, s.managed(), http.MethodPut, "permissions/"+url.PathEscape(uri.Vhost)+"/"+s.user.name,
		map[string]string{"configure": names, "write": names, "read": names})
}

func (s *system) managed() string { s.mu.Lock(); defer s.mu.Unlock(); return s.management }

// manageLimit bounds a request to the management API.
const manageLimit = time.Minute

// administrates reports whether the user of the management API may make users.
func administrates(ctx context.Context, base string) (bool, error) {
	said, err := ask(ctx, base, http.MethodGet, "whoami", nil)
	if errors.Is(err, errUnauthorized) {
		return false, nil
	}
	return strings.Contains(string(said), "administrator"), err
}

// manage changes something by RabbitMQ's management API.
func manage(ctx context.Context, base, method, path string, body any) error {
	_, err := ask(ctx, base, method, path, body)
	return err
}

// errUnauthorized is the answer to users without the tag management.
var errUnauthorized = errors.New("management API: unauthorized")

// mostSaid bounds an answer of the management API.
const mostSaid = 64 << 10

func ask(ctx context.Context, base, method, path string, body any) (said []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, manageLimit)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+"/api/"+path, bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("the URL of the management API cannot be parsed") // it may hold a password
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("management API: %w", err) // a url.Error hides the password
	}
	defer res.Body.Close()
	if said, err = io.ReadAll(io.LimitReader(res.Body, mostSaid)); err != nil {
		return nil, fmt.Errorf("management API: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		return nil, errUnauthorized
	case res.StatusCode/100 != 2:
		return nil, fmt.Errorf("management API: %s %s: %s: %.500s", method, path, res.Status, said)
	}
	return said, nil
}
