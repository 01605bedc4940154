package exampletest

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

const anOrder = `{"customerId":"c","amount":1}`

// troubles are ways in which a database answers and does not serve. Each ends
// the user's sessions, as what it does is for the next ones, or does not matter.
var troubles = []struct {
	name           string
	begin, end     func(u *testenv.PostgresUser)
	readyMeanwhile bool
	status         string // of the database, while not ready
}{
	{"a standby", func(u *testenv.PostgresUser) {
		u.Exec(`ALTER ROLE ` + u.Name() + ` SET default_transaction_read_only = on`)
		u.Disconnect()
	}, func(u *testenv.PostgresUser) {
		u.Exec(`ALTER ROLE ` + u.Name() + ` RESET default_transaction_read_only`)
	}, false, "read-only"},
	{"rights on the service's table", func(u *testenv.PostgresUser) {
		u.Exec(`REVOKE INSERT ON orders FROM ` + u.Name())
	}, func(u *testenv.PostgresUser) {
		u.Exec(`GRANT INSERT ON orders TO ` + u.Name())
	}, false, "refused"},
	{"rights on the outbox", func(u *testenv.PostgresUser) {
		u.Exec(`REVOKE INSERT ON outbox_messages FROM ` + u.Name())
	}, func(u *testenv.PostgresUser) {
		u.Exec(`GRANT INSERT ON outbox_messages TO ` + u.Name())
	}, false, "refused"},
	{"locked out", func(u *testenv.PostgresUser) {
		u.Exec(`ALTER ROLE ` + u.Name() + ` NOLOGIN`)
		u.Disconnect()
	}, func(u *testenv.PostgresUser) {
		u.Exec(`ALTER ROLE ` + u.Name() + ` LOGIN`)
	}, false, "refused"},
	{"too many connections", func(u *testenv.PostgresUser) {
		u.Exec(`ALTER ROLE ` + u.Name() + ` CONNECTION LIMIT 0`)
		u.Disconnect()
	}, func(u *testenv.PostgresUser) {
		u.Exec(`ALTER ROLE ` + u.Name() + ` CONNECTION LIMIT -1`)
	}, false, "unreachable"},
	{"a full disk", func(u *testenv.PostgresUser) {
		u.Exec(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
			CREATE TRIGGER full_disk BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION full_disk()`)
	}, func(u *testenv.PostgresUser) {
		u.Exec(`DROP TRIGGER full_disk ON orders`)
	}, true, ""},
}

// OrdersTellsDatabaseTroubleFromDefects tests that orders are refused with 503
// while the database does not serve, that the service is not ready then, and that
// nothing has to be restarted.
func (k Stack) OrdersTellsDatabaseTroubleFromDefects(t *testing.T) {
	settings, logs := Settings(t, Bare)
	user := testenv.NewPostgresUser(t, testenv.Postgres(t))
	settings.DatabaseURL = user.URL()
	orders, err := k.Orders(settings)
	if err != nil {
		t.Fatal(err)
	}
	base := Start(t, orders)
	db := Open(t, user.URL())
	for _, trouble := range troubles {
		t.Run(trouble.name, func(t *testing.T) {
			trouble.begin(user)
			if !trouble.readyMeanwhile {
				testenv.Eventually(t, Patience, "the service to say so", func() bool {
					status, h := readiness(t, base)
					return status == http.StatusServiceUnavailable && h.Database.Status == trouble.status
				})
			}
			res, body := Exchange(t, http.MethodPost, base+"/orders", anOrder)
			if code, _ := Refused(t, "POST", res, body, http.StatusServiceUnavailable); code != "unavailable" || res.Header.Get("Retry-After") == "" {
				t.Errorf("code %s, header %v", code, res.Header)
			}
			if status, body := Ask(t, http.MethodGet, base+"/health/live", ""); status != http.StatusOK {
				t.Errorf("live: %d %s", status, body)
			}
			trouble.end(user)
			testenv.Eventually(t, Patience, "orders to be taken again", func() bool {
				status, _ := Ask(t, http.MethodPost, base+"/orders", anOrder)
				return status == http.StatusCreated
			})
			testenv.Eventually(t, Patience, "the service to be ready again", func() bool { status, _ := readiness(t, base); return status == http.StatusOK })
		})
	}
	if n := Count(t, db, `outbox_messages WHERE attempts > 0`); n > 0 {
		t.Errorf("%d messages paid for it", n)
	}
	if logs.Find(t, map[string]any{"msg": "request failed"}) != nil {
		t.Errorf("trouble with the database was taken for a defect")
	}
}

// NotificationsHoldsWhileTheDatabaseRefuses tests that a database which answers
// and refuses costs no event an attempt.
func (k Stack) NotificationsHoldsWhileTheDatabaseRefuses(t *testing.T) {
	var user *testenv.PostgresUser
	on := Bare
	on.Database = func(t testing.TB) string { // the first that is asked for is that of notifications
		if user == nil {
			user = testenv.NewPostgresUser(t, testenv.Postgres(t))
			return user.URL()
		}
		return Bare.Database(t)
	}
	s := k.start(t, on)
	for _, trouble := range []struct{ name, begin, end string }{
		{"rights on the inbox", `REVOKE ALL ON processed_events FROM %s`, `GRANT ALL ON processed_events TO %s`},
		{"rights on the effect", `REVOKE INSERT ON notifications FROM %s`, `GRANT INSERT ON notifications TO %s`},
		{"a standby", `ALTER ROLE %s SET default_transaction_read_only = on`, `ALTER ROLE %s RESET default_transaction_read_only`},
		{"locked out", `ALTER ROLE %s NOLOGIN`, `ALTER ROLE %s LOGIN`},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			user.Exec(strings.ReplaceAll(trouble.begin, "%s", user.Name()))
			user.Disconnect()
			p := s.order(t)
			testenv.Eventually(t, Patience, "the consumer to hold", func() bool { return s.consumer(t).State == "degraded" })
			status, _ := Ask(t, http.MethodGet, s.notifications+"/health/ready", "")
			if status != http.StatusServiceUnavailable {
				t.Errorf("readiness: %d", status)
			}
			user.Exec(strings.ReplaceAll(trouble.end, "%s", user.Name()))
			s.awaitNotification(t, p.OrderID)
			testenv.Eventually(t, Patience, "the consumer to be well", func() bool { return s.consumer(t).State == "running" })
			if h := s.consumer(t); h.Retried != 0 || h.DeadLettered != 0 {
				t.Errorf("events paid for it: %+v", h)
			}
		})
	}
}

// RequestsEndSoonWhenTheDatabaseIsCutOff tests that clients are not kept waiting
// by a database that says nothing, and that the service recovers.
func (k Stack) RequestsEndSoonWhenTheDatabaseIsCutOff(t *testing.T) {
	database := testenv.Postgres(t)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	proxy := testenv.NewProxy(t, u.Host)
	settings, _ := Settings(t, Bare)
	settings.DatabaseURL, settings.DatabaseTimeout = proxy.Through(t, database), 0
	orders, err := k.Orders(settings)
	if err != nil {
		t.Fatal(err)
	}
	base := Start(t, orders)
	testenv.Eventually(t, Patience, "an order to be taken", func() bool {
		status, _ := Ask(t, http.MethodPost, base+"/orders", anOrder)
		return status == http.StatusCreated
	})
	proxy.Freeze()
	const limit = 2 * time.Second // and what a busy machine adds, below RequestTimeout
	for range 3 {                 // with connections that are open, and without
		for _, c := range []struct{ method, path string }{
			{http.MethodPost, "/orders"}, {http.MethodGet, "/orders"}, {http.MethodGet, "/health/ready"},
		} {
			began := time.Now()
			status, body := Ask(t, c.method, base+c.path, anOrder)
			if took := time.Since(began); status != http.StatusServiceUnavailable || took > limit+5*time.Second {
				t.Errorf("%s %s: %d %s after %v, want 503 within %v", c.method, c.path, status, body, took, limit)
			}
		}
	}
	proxy.Thaw()
	testenv.Eventually(t, Patience, "orders to be taken again", func() bool {
		status, _ := Ask(t, http.MethodPost, base+"/orders", anOrder)
		return status == http.StatusCreated
	})
}

// AClientThatHangsUpIsNoError tests that nobody is called at night because a client
// did not wait.
func (k Stack) AClientThatHangsUpIsNoError(t *testing.T) {
	base, cfg, logs := k.StartOrders(t, Bare)
	writer := Open(t, cfg.DatabaseURL).MustBegin()
	defer writer.Rollback()
	ctx, hangUp := context.WithCancel(t.Context())
	asked, done := make(chan struct{}), make(chan struct{})
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(asked) }})
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	go func() {
		defer close(done)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/orders", strings.NewReader(anOrder))
		if err != nil {
			return
		}
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	<-asked
	hangUp()
	<-done
	var line map[string]any
	testenv.Eventually(t, Patience, "the request to be logged", func() bool {
		line = logs.Find(t, map[string]any{"msg": "request", "method": "POST"})
		return line != nil
	})
	if line["level"] == "ERROR" || line["status"] == float64(http.StatusInternalServerError) {
		t.Errorf("logged as %v", line)
	}
	if record := logs.Find(t, map[string]any{"level": "ERROR"}); record != nil {
		t.Errorf("an error is logged: %v", record)
	}
}

// WebPagesCannotUseIt tests that a page in a developer's browser cannot place
// orders on localhost.
func (k Stack) WebPagesCannotUseIt(t *testing.T) {
	base, cfg, _ := k.StartOrders(t, Bare)
	for _, c := range []struct {
		about   string
		headers []string
		status  int
		code    string
	}{
		{"a form", []string{"Content-Type", "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType, "unsupported_media_type"},
		{"a simple request", []string{"Content-Type", "text/plain", "Origin", "https://evil.example"}, http.StatusForbidden, "cross_origin"},
		{"a page on another port", []string{"Content-Type", "application/json", "Origin", "http://localhost:3000"}, http.StatusForbidden, "cross_origin"},
		{"a rebound name", []string{"Content-Type", "application/json", "Host", "evil.example"}, http.StatusMisdirectedRequest, "unknown_host"},
	} {
		res, body := Exchange(t, http.MethodPost, base+"/orders", anOrder, c.headers...)
		if code, _ := Refused(t, c.about, res, body, c.status); code != c.code {
			t.Errorf("%s: code %s, want %s", c.about, code, c.code)
		}
	}
	if n := Count(t, Open(t, cfg.DatabaseURL), `orders`); n != 0 {
		t.Errorf("%d orders were placed", n)
	}
	for _, host := range []string{"localhost", "orders:6101"} {
		if status, body := Ask(t, http.MethodPost, base+"/orders", anOrder, "Content-Type", "application/json", "Host", host); status != http.StatusCreated {
			t.Errorf("as %s: %d %s", host, status, body)
		}
	}
}

// HealthTellsNoNames tests that /health/ready is fit for strangers while things
// are wrong.
func (k Stack) HealthTellsNoNames(t *testing.T) {
	settings, _ := Settings(t, Bare)
	user := testenv.NewPostgresUser(t, testenv.Postgres(t))
	settings.DatabaseURL = user.URL()
	settings.AMQPURL = "amqp://somebody:hunter2@127.0.0.1:1/vhost"
	orders, err := k.Orders(settings)
	if err != nil {
		t.Fatal(err)
	}
	notifications, err := k.Notifications(settings, "")
	if err != nil {
		t.Fatal(err)
	}
	bases := []string{Start(t, orders), Start(t, notifications)}
	user.Exec(`ALTER ROLE ` + user.Name() + ` NOLOGIN`)
	user.Disconnect()
	for _, base := range bases {
		testenv.Eventually(t, Patience, "the service to be unready", func() bool {
			status, body := Ask(t, http.MethodGet, base+"/health/ready", "")
			for _, secret := range []string{"127.0.0.1", "hunter2", "somebody", "vhost", user.Name()} {
				if strings.Contains(string(body), secret) {
					t.Fatalf("strangers are told %q: %s", secret, body)
				}
			}
			return status == http.StatusServiceUnavailable && strings.Contains(string(body), `"lastError"`)
		})
	}
}
