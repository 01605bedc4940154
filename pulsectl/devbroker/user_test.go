package devbroker_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// as returns the URL of a broker for another user and virtual host.
func as(t *testing.T, base, user, password, vhost string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	u.Path, u.RawPath = "/"+vhost, "/"+url.PathEscape(vhost)
	return u.String()
}

// refused is what a user with few permissions may not do: configure and write "^my-", read "^(my-|public)".
var refused = []struct {
	name string
	do   func(s *session) error
	what string // in the text; "": it is allowed
}{
	{"declare a queue", declareNamed("my-queue", nil), ""},
	{"declare somebody else's queue", declareNamed("theirs", nil), "queue 'theirs'"},
	{"declare a queue with a dead-letter exchange", declareNamed("my-queue", amqp.Table{"x-dead-letter-exchange": "my-x"}), ""},
	{"declare a queue with somebody else's dead-letter exchange", declareNamed("my-queue", amqp.Table{"x-dead-letter-exchange": "theirs"}), "exchange 'theirs'"},
	{"look for somebody else's queue", func(s *session) error {
		_, err := s.ch.QueueDeclarePassive("public", true, false, false, false, nil)
		return err
	}, ""},
	{"delete somebody else's queue", func(s *session) error { _, err := s.ch.QueueDelete("public", false, false, false); return err }, "queue 'public'"},
	{"purge a queue", func(s *session) error { _, err := s.ch.QueuePurge("public", false); return err }, ""},
	{"purge somebody else's queue", func(s *session) error { _, err := s.ch.QueuePurge("secret", false); return err }, "queue 'secret'"},
	{"consume", func(s *session) error {
		_, err := s.ch.Consume("public", "", true, false, false, false, nil)
		return err
	}, ""},
	{"consume from somebody else's queue", func(s *session) error {
		_, err := s.ch.Consume("secret", "", true, false, false, false, nil)
		return err
	}, "queue 'secret'"},
	{"get from somebody else's queue", func(s *session) error { _, _, err := s.ch.Get("secret", true); return err }, "queue 'secret'"},
	{"declare an exchange", func(s *session) error { return s.ch.ExchangeDeclare("my-x", "topic", true, false, false, false, nil) }, ""},
	{"declare somebody else's exchange", func(s *session) error {
		return s.ch.ExchangeDeclare("theirs", "topic", true, false, false, false, nil)
	}, "exchange 'theirs'"},
	{"delete somebody else's exchange", func(s *session) error { return s.ch.ExchangeDelete("theirs", false, false) }, "exchange 'theirs'"},
	{"bind from an exchange one may not read", func(s *session) error {
		s.must(declareNamed("my-queue", nil)(s))
		return s.ch.QueueBind("my-queue", "k", "amq.topic", false, nil)
	}, "exchange 'amq.topic'"},
	{"bind a queue one may not write", func(s *session) error {
		s.must(s.ch.ExchangeDeclare("my-x", "topic", true, false, false, false, nil))
		return s.ch.QueueBind("public", "k", "my-x", false, nil)
	}, "queue 'public'"},
	{"publish to the default exchange", publishAndWait("", "my-queue"), "exchange 'amq.default'"},
	{"publish to somebody else's exchange", publishAndWait("amq.topic", "k"), "exchange 'amq.topic'"},
	{"publish", func(s *session) error {
		s.must(s.ch.ExchangeDeclare("my-x", "topic", true, false, false, false, nil))
		return publishAndWait("my-x", "k")(s)
	}, ""},
}

func declareNamed(name string, args amqp.Table) func(*session) error {
	return func(s *session) error {
		if args != nil {
			_, _ = s.ch.QueueDelete(name, false, false, false)
		}
		_, err := s.ch.QueueDeclare(name, true, false, false, false, args)
		return err
	}
}

// publishAndWait publishes, and waits for the result.
func publishAndWait(exchange, key string) func(*session) error {
	return func(s *session) error {
		if err := s.ch.Confirm(false); err != nil {
			return err
		}
		closed := s.ch.NotifyClose(make(chan *amqp.Error, 1))
		d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), exchange, key, false, false, persistent("x"))
		if err != nil {
			return err
		}
		select {
		case e := <-closed:
			return e
		case <-d.Done():
		}
		if d.Acked() {
			return nil
		}
		return <-closed // which is why the confirm is done
	}
}

func TestPermissions(t *testing.T) {
	onManaged(t, func(m *managed) {
		m.vhost("permissions")
		m.user("app", "secret")
		m.permit("app", "permissions", devbroker.Permissions{Configure: "^my-", Write: "^my-", Read: "^(my-|public)"})
		m.user("owner", "secret")
		m.permit("owner", "permissions", devbroker.AllPermissions)
		owner := connect(m.T, as(m.T, m.url, m.name("owner"), "secret", m.name("permissions")), false)
		for _, name := range []string{"public", "secret"} {
			_, err := owner.ch.QueueDeclare(name, true, false, false, false, nil)
			owner.must(err)
		}
		for _, r := range refused {
			s := connect(m.T, as(m.T, m.url, m.name("app"), "secret", m.name("permissions")), false)
			err := r.do(s)
			want := ""
			if r.what != "" {
				want = "ACCESS_REFUSED - access to " + r.what + " in vhost '" + m.name("permissions") + "' refused for user '" + m.name("app") + "'"
			}
			var reply *amqp.Error
			got := ""
			if errors.As(err, &reply) {
				got = reply.Reason
			}
			if got != want || (err == nil) != (want == "") || want != "" && code(err) != 403 {
				m.Errorf("%s: %v, want %s", r.name, err, want)
			}
			if _, err := s.conn.Channel(); err != nil {
				m.Errorf("%s: the connection is closed: %v", r.name, err)
			}
			s.must(s.conn.Close())
		}
	})
}

func TestUsersAndVirtualHosts(t *testing.T) {
	onManaged(t, func(m *managed) {
		m.vhost("one")
		m.vhost("two")
		m.user("app", "first")
		m.permit("app", "one", devbroker.AllPermissions)
		dial := func(password, vhost string) error {
			conn, err := amqp.Dial(as(m.T, m.url, m.name("app"), password, m.name(vhost)))
			if err == nil {
				return conn.Close()
			}
			return err
		}
		refusal := func(what string, err error, number int, reason string) {
			m.Helper()
			var reply *amqp.Error
			if !errors.As(err, &reply) || reply.Code != number || !strings.Contains(reply.Reason, reason) {
				m.Errorf("%s: %v", what, err)
			}
		}
		s := connect(m.T, as(m.T, m.url, m.name("app"), "first", m.name("one")), false)
		q := s.queue(nil)
		refusal("another virtual host", dial("first", "two"), 530, "NOT_ALLOWED - access to vhost '"+m.name("two")+"' refused for user '"+m.name("app")+"'")
		m.permit("app", "two", devbroker.AllPermissions)
		other := connect(m.T, as(m.T, m.url, m.name("app"), "first", m.name("two")), false)
		_, err := other.ch.QueueDeclarePassive(q, true, false, false, false, nil)
		refusal("a queue of another virtual host", err, 404, "no queue '"+q+"' in vhost '"+m.name("two")+"'")

		m.user("app", "second") // existing connections stay
		s.ready(q)
		refusal("the old password", dial("first", "one"), 403, "")
		if err := dial("second", "one"); err != nil {
			m.Errorf("the new password: %v", err)
		}
		if err := dial("second", "missing"); code(err) != 530 {
			m.Errorf("a missing virtual host: %v", err)
		}

		closed := other.conn.NotifyClose(make(chan *amqp.Error, 1))
		m.delete("vhosts/" + m.name("two"))
		// RabbitMQ stops a virtual host before it deletes it, and a connection may
		// be told of the one or the other.
		says := "CONNECTION_FORCED - vhost '" + m.name("two") + "' is "
		if e := await(m.T, "the connection to be closed", closed); e == nil || e.Code != 320 || e.Reason != says+"deleted" && !(m.real && e.Reason == says+"down") {
			m.Errorf("closed with %v", e)
		}
		closed = s.conn.NotifyClose(make(chan *amqp.Error, 1))
		m.delete("users/" + m.name("app"))
		if e := await(m.T, "the connection to be closed", closed); e == nil || e.Code != 320 || e.Reason != "CONNECTION_FORCED - user '"+m.name("app")+"' is deleted" {
			m.Errorf("closed with %v", e)
		}
		refusal("a user who is gone", dial("second", "one"), 403, "")
	})
}

// TestPermissionsChanged: permissions are changed while a user is connected, by the broker's own methods.
func TestPermissionsChanged(t *testing.T) {
	b := devbroker.NewTest(t)
	s := newSession(t, b.URL())
	q := s.queue(nil)
	s.must(b.SetUser(devbroker.User{Name: "app", Password: "p"}))
	s.must(b.SetPermissions("app", "/", devbroker.AllPermissions))
	app := newSession(t, as(t, b.URL(), "app", "p", "/"))
	s.must(publishAndWait("", q)(app))
	s.must(b.SetPermissions("app", "/", devbroker.Permissions{Read: ".*"}))
	if err := publishAndWait("", q)(app); code(err) != 403 {
		t.Errorf("publishing: %v", err)
	}
	app.ch = app.channel()
	app.get(q)
	s.must(b.ClearPermissions("app", "/"))
	if _, _, err := app.ch.Get(q, true); code(err) != 403 {
		t.Errorf("getting: %v", err)
	}
	if got := b.PermissionsOf("app"); len(got) != 0 {
		t.Errorf("left %v", got)
	}
	for what, err := range map[string]error{
		"no such user":  b.SetPermissions("nobody", "/", devbroker.AllPermissions),
		"no such vhost": b.SetPermissions("app", "nowhere", devbroker.AllPermissions),
		"deleted user":  b.DeleteUser("nobody"),
		"deleted vhost": b.DeleteVHost("nowhere"),
	} {
		if !errors.Is(err, devbroker.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := b.SetPermissions("app", "/", devbroker.Permissions{Read: "("}); err == nil {
		t.Error("took a pattern that is none")
	}
	if err := b.SetUser(devbroker.User{}); err == nil {
		t.Error("took a user without a name")
	}
	if names := b.Users(); len(names) != 2 || names[0].Name != "app" || names[0].Password != "" || !slices.Equal(names[1].Tags, []string{"administrator"}) {
		t.Errorf("users %+v", names)
	}
}

// TestVirtualHostsSurvive: virtual hosts survive a kill, with their contents.
func TestVirtualHostsSurvive(t *testing.T) {
	dir := t.TempDir()
	b, s := start(t, dir)
	s.must(b.AddVHost("kept"))
	s.must(b.AddVHost("empty"))
	s.must(b.AddVHost("gone"))
	for _, vhost := range []string{"kept", "gone"} {
		s.must(b.SetPermissions("guest", vhost, devbroker.AllPermissions))
		in := newSession(t, as(t, b.URL(), "guest", "guest", vhost))
		in.queueNamed("q", nil)
		in.must(in.ch.ExchangeDeclare("x", "topic", true, false, false, false, nil))
		in.bind("q", "#", "x", nil)
		in.must(in.ch.Confirm(false))
		in.confirmed("x", "k", persistent("in "+vhost))
	}
	s.queueNamed("q", nil) // of the same name
	s.must(b.DeleteVHost("gone"))
	s.must(b.Close())

	b, s = start(t, dir)
	if got := b.VHosts(); !slices.Equal(got, []string{"/", "empty", "kept"}) {
		t.Fatalf("virtual hosts %q", got)
	}
	s.must(b.SetPermissions("guest", "kept", devbroker.AllPermissions))
	in := newSession(t, as(t, b.URL(), "guest", "guest", "kept"))
	in.publish("x", "k", persistent("routed"))
	in.eventuallyReady("q", 2)
	if got := in.bodies("q"); !slices.Equal(got, []string{"in kept", "routed"}) {
		t.Errorf("left %q", got)
	}
	if n := s.ready("q"); n != 0 {
		t.Errorf("%d messages in the queue of the same name", n)
	}
}
