package devbroker

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// User is a user of the broker.
type User struct {
	Name string
	// Password of the user. It is never returned. A user without one cannot log
	// in.
	Password string
	// Tags are RabbitMQ's tags: "administrator" and "monitoring" give access to
	// the management API, "management" and "policymaker" to a part of it; an
	// "impersonator" may publish under another user's name. Other tags are
	// stored.
	Tags []string
}

// Permissions are a user's permissions in a virtual host: regular expressions
// of package regexp that match the names, anywhere unless anchored, of queues
// and exchanges ("amq.default" for the default one). "" matches nothing. The
// permission that an operation needs is that of RabbitMQ.
type Permissions struct {
	// Configure: declare and delete; Write: publish, bind to; Read: consume, get, purge, bind from.
	Configure, Write, Read string
}

// AllPermissions allow everything.
var AllPermissions = Permissions{Configure: ".*", Write: ".*", Read: ".*"}

// user is a user with its permissions. The broker's lock guards it.
type user struct {
	name   string
	secret []byte // salt and digest, as RabbitMQ stores them; nil: no password matches
	tags   []string
	grants map[string]*grant // by virtual host
}

// permission is one of the three permissions.
type permission int

const (
	configure permission = iota
	write
	read
)

// grant is Permissions, compiled.
type grant struct {
	Permissions
	patterns [3]*regexp.Regexp // nil: everything
	known    [3]map[string]bool
}

const knownNames = 1024 // number of cached results of one pattern

func (p Permissions) compile() (*grant, error) {
	g := &grant{Permissions: p}
	for i, pattern := range []string{p.Configure, p.Write, p.Read} {
		g.known[i] = make(map[string]bool)
		switch pattern {
		case ".*":
			continue
		case "":
			pattern = "^$"
		}
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("devbroker: permissions: %w", err)
		}
		g.patterns[i] = compiled
	}
	return g, nil
}

func (g *grant) allows(p permission, name string) bool {
	pattern := g.patterns[p]
	if pattern == nil {
		return true
	}
	allowed, known := g.known[p][name]
	if !known {
		if len(g.known[p]) >= knownNames {
			clear(g.known[p])
		}
		allowed = pattern.MatchString(name)
		g.known[p][name] = allowed
	}
	return allowed
}

const saltSize = 4

func (u *user) setPassword(password string) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt)
	u.secret = salted(salt, password)
}

func salted(salt []byte, password string) []byte {
	digest := sha256.Sum256(append(slices.Clone(salt), password...))
	return append(slices.Clone(salt), digest[:]...)
}

// checks reports whether a password is the user's. As with RabbitMQ, a blank
// one never is.
func (u *user) checks(password string) bool {
	if password == "" || len(u.secret) < saltSize {
		return false
	}
	return subtle.ConstantTimeCompare(salted(u.secret[:saltSize], password), u.secret) == 1
}

func (u *user) tagged(tags ...string) bool {
	return slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(u.tags, tag) })
}

// authenticated returns the user with these credentials, or nil. The caller holds the lock.
func (b *Broker) authenticated(name, password string) *user {
	if u := b.users[name]; u != nil && u.checks(password) {
		return u
	}
	return nil
}

// SetUser adds a user, or changes the password and the tags of an existing one,
// whose connections stay open. A new user has no permissions before
// [Broker.SetPermissions]. Users are not stored in the data directory.
func (b *Broker) SetUser(u User) error {
	return b.setUser(u, func(known *user) { known.setPassword(u.Password) })
}

func (b *Broker) setUser(u User, secret func(*user)) error {
	if err := checkName("user", u.Name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.users[u.Name]
	if known == nil {
		known = &user{name: u.Name, grants: make(map[string]*grant)}
		b.users[u.Name] = known
	}
	secret(known)
	known.tags = slices.Clone(u.Tags)
	return nil
}

// DeleteUser deletes a user and closes its connections with 320 CONNECTION_FORCED.
func (b *Broker) DeleteUser(name string) error {
	b.mu.Lock()
	u := b.users[name]
	if u == nil {
		b.mu.Unlock()
		return fmt.Errorf("%w: user %q", ErrNotFound, name)
	}
	delete(b.users, name)
	clear(u.grants)
	b.mu.Unlock()
	b.closeConnections(fmt.Sprintf("user '%s' is deleted", name), func(c *conn) bool { return c.user == u })
	return nil
}

// Users lists the users by name, without their passwords.
func (b *Broker) Users() []User {
	b.mu.Lock()
	defer b.mu.Unlock()
	users := make([]User, 0, len(b.users))
	for _, u := range b.users {
		users = append(users, User{Name: u.name, Tags: slices.Clone(u.tags)})
	}
	slices.SortFunc(users, func(x, y User) int { return cmp.Compare(x.Name, y.Name) })
	return users
}

// SetPermissions sets a user's permissions in a virtual host, from the next
// operation on. The error wraps [ErrNotFound] if the user or virtual host does
// not exist, or names the invalid pattern.
func (b *Broker) SetPermissions(userName, vhost string, p Permissions) error {
	g, err := p.compile()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.users[userName]
	switch {
	case u == nil:
		return fmt.Errorf("%w: user %q", ErrNotFound, userName)
	case b.vhosts[vhost] == nil:
		return fmt.Errorf("%w: virtual host %q", ErrNotFound, vhost)
	}
	u.grants[vhost] = g
	return nil
}

// ClearPermissions removes all permissions of a user in a virtual host. Its
// connections stay open, and every operation is refused.
func (b *Broker) ClearPermissions(userName, vhost string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.users[userName]
	if u == nil {
		return fmt.Errorf("%w: user %q", ErrNotFound, userName)
	}
	delete(u.grants, vhost)
	return nil
}

// PermissionsOf returns a user's permissions, by virtual host; empty if the
// user does not exist.
func (b *Broker) PermissionsOf(userName string) map[string]Permissions {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string]Permissions)
	if u := b.users[userName]; u != nil {
		for vhost, g := range maps.All(u.grants) {
			all[vhost] = g.Permissions
		}
	}
	return all
}

// may returns an error, in RabbitMQ's words, if the channel's user lacks the
// permission. what is the resource in error texts. The caller holds the lock.
func (c *conn) may(p permission, name string, what func(string) string) error {
	if g := c.user.grants[c.vhost.name]; g != nil && g.allows(p, name) {
		return nil
	}
	return accessRefused("access to %s refused for user '%s'", what(name), c.user.name)
}

func (c *conn) mayQueue(p permission, name string) error { return c.may(p, name, c.vhost.queueName) }

func (c *conn) mayExchange(p permission, name string) error {
	return c.may(p, cmp.Or(name, "amq.default"), c.vhost.exchangeName)
}
