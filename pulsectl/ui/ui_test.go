package ui_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/ui"
)

var screens = []string{"/", "/outbox", "/blocked", "/inbox", "/trace", "/workers", "/audit"}

// Nothing on a page runs or is loaded that is not the page's own, also where texts
// of messages are shown.
func TestNothingForeign(t *testing.T) {
	t.Parallel()
	broker := devbroker.NewTest(t)
	s := newService(t, func(cfg *ui.Config) {
		cfg.ShowPayloads, cfg.AllowWrites = true, true
		cfg.Source = &inboxrabbit.SourceConfig{URL: broker.URL(), Queue: "order.created"}
	})
	evil := `"><script>alert(1)</script><img src=https://evil.example/ onerror=alert(1)>`
	m := message(evil, evil, evil)
	m.Headers["evil"] = evil
	id := s.enqueue(m)[0]
	s.exec(`UPDATE outbox_messages SET status = 'dead', attempts = 1, last_error = ?`, evil)
	if _, err := s.cfg.Inbox.Once(t.Context(), inbox.Message{ID: evil, Topic: evil}, func(context.Context, inbox.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	forbidden := regexp.MustCompile(`(?i)<script>|<style|<img src=https|\sstyle=|\son[a-z]+="|(src|href|action)="(https?:)?//`)
	for _, path := range append(screens, "/outbox/"+id.String(), "/outbox?status=nonsense", "/nowhere") {
		res, err := s.client.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		if policy := res.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		_, body := read(t, res)
		if found := forbidden.FindString(body); found != "" {
			t.Errorf("%s: %q in\n%s", path, found, body)
		}
	}
	for _, path := range []string{"/outbox", "/blocked", "/inbox", "/outbox/" + id.String()} {
		s.shows(path, http.StatusOK, "&lt;script&gt;alert(1)")
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	body := s.shows("/", http.StatusOK)
	found := regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`).FindAllStringSubmatch(body, -1)
	if len(found) < 4 {
		t.Fatalf("assets: %v", found)
	}
	for _, f := range found {
		res, err := s.client.Get(s.url + f[1])
		if err != nil {
			t.Fatal(err)
		}
		if status, content := read(t, res); status != http.StatusOK || content == "" || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d, %v", f[1], status, res.Header)
		}
	}
	for _, path := range []string{"/assets/", "/assets/README.md", "/assets/none.js", "/assets/x/page.css"} {
		if status, _ := s.get(path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	s.shows("/outbox", http.StatusOK, "The outbox is empty.", "read-only")
	ids := s.enqueue(message("order.created", "key-1", `{"amount":1}`), message("order.paid", "key-2", `{}`), message("order.paid", "key-2", `{}`))
	s.exec(`UPDATE outbox_messages SET status = 'dead', attempts = 7, last_error = 'too large for the queue' WHERE id = ?`, ids[1].String())
	body := s.shows("/outbox", http.StatusOK, ids[0].String(), ids[1].String(), ids[2].String(), "3 messages", "too large for the queue")
	if strings.Index(body, ids[2].String()) > strings.Index(body, ids[0].String()) {
		t.Error("the newest is not first")
	}
	for query, want := range map[string][]int{
		"status=pending": {0, 2}, "status=dead": {1}, "status=retrying": {}, "topic=order.created": {0}, "key=key-2": {1, 2}, "error=TOO+large": {1},
		"since=1h": {0, 1, 2}, "since=2100-01-01T00:00:00Z": {}, "type=order.paid&status=dead": {1}, "correlation=none": {}, "after=3": {0, 1}, "topic=": {0, 1, 2},
	} {
		body := s.shows("/outbox?"+query, http.StatusOK)
		for i, id := range ids {
			has, should := strings.Contains(body, id.String()), false
			for _, w := range want {
				should = should || w == i
			}
			if has != should {
				t.Errorf("%s: message %d is shown: %v", query, i, has)
			}
		}
	}
	s.shows("/blocked", http.StatusOK, "key-2", ids[1].String(), ">1<", "too large for the queue", "Errors of the broker")
	s.shows("/outbox/"+ids[2].String(), http.StatusOK, "It waits for", ids[1].String())
	s.shows("/outbox/"+uuid.NewString(), http.StatusNotFound, "Not found")
	s.shows("/", http.StatusOK, "1 dead", "no relay is ready", "degraded", "since")
}

// Payloads and values of headers are hidden unless they were asked for.
func TestPayloads(t *testing.T) {
	t.Parallel()
	s := newService(t, func(cfg *ui.Config) { cfg.ShowPayloads = true })
	hidden := serve(t, s.db, nil)
	for name, c := range map[string]struct{ payload, shown string }{
		"JSON":  {`{"card":"4111"}`, "&#34;card&#34;: &#34;4111&#34;"},
		"text":  {"card 4111", "card 4111"},
		"bytes": {"\xff\x004111", "ff 00 34 31 31 31"},
		"empty": {"", "It is empty."},
		"long":  {strings.Repeat("x", 100<<10), "There is more"},
	} {
		path := "/outbox/" + s.enqueue(message("t", "", c.payload))[0].String()
		s.shows(path, http.StatusOK, c.shown, "acme-secret")
		body := hidden.shows(path, http.StatusOK, "Hidden", "tenant")
		if strings.Contains(body, "acme-secret") || c.payload != "" && strings.Contains(body, c.shown) {
			t.Errorf("%s is not hidden:\n%s", name, body)
		}
	}
}

// Next pages lead through all rows, each once, also while rows are added.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	const rows = 60
	want := map[string]bool{}
	var msgs []outbox.Message
	for range rows {
		msgs = append(msgs, message("t", "", ""))
		id := uuid.NewString()
		want[id] = true
		s.exec(`INSERT INTO processed_events (consumer, event_id, topic, payload_hash) VALUES ('notifications', ?, 't', ?)`, id, make([]byte, 32))
	}
	for _, id := range s.enqueue(msgs...) {
		want[id.String()] = true
	}
	next, row := regexp.MustCompile(`<a href="([^"]+)" rel="next"`), regexp.MustCompile(`class="id" href="/outbox/([^"]+)"`)
	for _, screen := range []string{"/outbox", "/inbox"} {
		query, pages := "?topic=t", 0
		for query != "" {
			body := s.shows(screen+query, http.StatusOK)
			for _, found := range row.FindAllStringSubmatch(body, -1) {
				if !want[found[1]] {
					t.Fatalf("%s: %s is shown twice, or was not there", screen, found[1])
				}
				delete(want, found[1])
			}
			if query = ""; next.MatchString(body) {
				query = strings.ReplaceAll(next.FindStringSubmatch(body)[1], "&amp;", "&")
			}
			if pages++; pages == 1 {
				s.enqueue(message("t", "", ""))
			}
		}
		if pages != 2 {
			t.Errorf("%s: %d pages", screen, pages)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d were not shown", len(want))
	}
}

// Whatever a parameter is, the answer says what is wrong with it.
func TestBadParameters(t *testing.T) {
	t.Parallel()
	s := newService(t, func(cfg *ui.Config) { cfg.Prefix = "/pulse" })
	parameters := map[string][]string{
		"/": {"done"}, "/blocked": {"done"}, "/workers": {"done"}, "/events": {},
		"/outbox":      {"status", "topic", "type", "key", "correlation", "error", "since", "after", "done"},
		"/deadletters": {"group", "reason", "error", "topic", "key", "since", "read", "done"}, "/deadletters/x": {"done"}, "/trace": {"id", "look", "done"},
		"/audit": {"actor", "action", "message", "since", "done"},
		"/inbox": {"event", "topic", "correlation", "since", "after", "done"},
	}
	parameters["/outbox/"+uuid.NewString()] = []string{"done"}
	bad := []string{"%00", "%ff", "a%0ab", "%7f", strings.Repeat("x", 256)}
	typed := map[string][]string{
		"status": {"nonsense", "Dead", "pending,dead"}, "since": {"yesterday", "-5m", "9999999999999h", "2026-13-01T00:00:00Z"},
		"after": {"-1", "0", "x", "1e3", "99999999999999999999", "YWJj", "MjAyNi0wMS0wMVQwMDowMDowMFogAGI"}, "done": {"nonsense", "ordered:x"}, "read": {"no"}, "look": {"1"},
	}
	for path, names := range parameters {
		queries := []string{"nonsense=1", "%zz=1", "a;b=1"}
		for _, name := range names {
			for _, value := range append(append([]string{}, bad...), typed[name]...) {
				queries = append(queries, name+"="+value)
			}
			queries = append(queries, name+"=1&"+name+"=2")
		}
		for _, query := range queries {
			if status, body := s.get("/pulse" + path + "?" + query); status != http.StatusBadRequest {
				t.Errorf("%s?%s: status %d\n%s", path, query, status, body)
			}
		}
	}
	for _, id := range []string{"x", "%00", "%ff", "urn:uuid:" + uuid.NewString(), "{" + uuid.NewString() + "}", strings.Repeat("0", 1000)} {
		if status, body := s.get("/pulse/outbox/" + id); status != http.StatusBadRequest {
			t.Errorf("%s: status %d\n%s", id, status, body)
		}
	}
	if status, body := s.get("/pulse/deadletters/%00"); status != http.StatusBadRequest {
		t.Errorf("a letter: status %d\n%s", status, body)
	}
	s.shows("/pulse/outbox?status=nonsense", http.StatusBadRequest, "status: &#34;nonsense&#34; is none of pending, retrying, published, dead, discarded")
	s.shows("/pulse/outbox/x/y", http.StatusNotFound, "no such page")
}

func TestPrefix(t *testing.T) {
	t.Parallel()
	s := newService(t, func(cfg *ui.Config) { cfg.Prefix = "/pulse" })
	id := s.enqueue(message("t", "k", ""))[0]
	link := regexp.MustCompile(`(?:src|href|action|hx-sse:connect)="([^"]*)"`)
	for _, path := range append(screens, "/outbox/"+id.String()) {
		for _, found := range link.FindAllStringSubmatch(s.shows("/pulse"+path, http.StatusOK), -1) {
			if !strings.HasPrefix(found[1], "/pulse/") && found[1] != "#main" {
				t.Errorf("%s: %s leads out of the page", path, found[1])
			}
		}
	}
	if status, _ := s.get("/outbox"); status != http.StatusNotFound {
		t.Errorf("outside the prefix: %d", status)
	}
	for _, prefix := range []string{"pulse", "/pulse/", "/a{b}", "/a b", "/%"} {
		if _, err := ui.New(ui.Config{Outbox: s.cfg.Outbox, Prefix: prefix}); err == nil || !strings.Contains(err.Error(), "Prefix") {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	if _, err := ui.New(ui.Config{}); err == nil {
		t.Error("nothing to show, and no error")
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	s := newService(t, func(cfg *ui.Config) { cfg.Hosts = []string{"pulse.example"} })
	for host, want := range map[string]int{
		"localhost": 200, "localhost:80": 200, "127.0.0.1:6100": 200, "[::1]:6100": 200, "192.0.2.1": 200, "pulse.example": 200, "PULSE.example:443": 200,
		"evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421, "pulse.example.evil": 421,
	} {
		req, err := http.NewRequest(http.MethodGet, s.url+"/assets/icon.svg", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := read(t, res); status != want {
			t.Errorf("%s: %d, want %d", host, status, want)
		}
	}
}
