package ui_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/ui"
)

var tokenField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// token returns the token of the forms of a screen.
func (s *service) token(path string) string {
	s.t.Helper()
	_, body := s.get(path)
	found := tokenField.FindStringSubmatch(body)
	if found == nil {
		s.t.Fatalf("%s has no form:\n%s", path, body)
	}
	return found[1]
}

// post sends a form, with a header if there is one.
func (s *service) post(path string, form url.Values, header ...string) (int, string, string) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	status, body := read(s.t, res)
	return status, res.Header.Get("Location"), body
}

func (s *service) status(id uuid.UUID) outbox.Status {
	s.t.Helper()
	rec, err := s.cfg.Outbox.Get(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return rec.Status
}

func TestRetryAndDiscard(t *testing.T) {
	t.Parallel()
	s := newService(t, func(cfg *ui.Config) { cfg.AllowWrites = true })
	id := s.enqueue(message("t", "k", ""))[0]
	s.exec(`UPDATE outbox_messages SET status = 'dead', attempts = 7, last_error = 'refused'`)
	path := "/outbox/" + id.String()
	form := url.Values{"csrf": {s.token(path)}, "confirm": {"yes"}}
	status, next, body := s.post(path+"/retry", form)
	if status != http.StatusSeeOther || next != path+"?done=retried" || s.status(id) != outbox.Pending {
		t.Fatalf("%d, %q, %s\n%s", status, next, s.status(id), body)
	}
	s.shows(next, http.StatusOK, "The message will be published again.")

	if status, _, body := s.post(path+"/discard", form); status != http.StatusBadRequest || !strings.Contains(body, "reason: is empty") {
		t.Errorf("without a reason: %d\n%s", status, body)
	}
	form.Set("reason", "the customer was deleted")
	status, next, body = s.post(path+"/discard", form)
	if status != http.StatusSeeOther || s.status(id) != outbox.Discarded {
		t.Fatalf("%d\n%s", status, body)
	}
	s.shows(next, http.StatusOK, "the customer was deleted", "discarded")
	if status, _, body := s.post(path+"/retry", form); status != http.StatusConflict || !strings.Contains(body, "Nothing was changed") {
		t.Errorf("retry of a discarded one: %d\n%s", status, body)
	}
	if status, _, _ := s.post("/outbox/"+uuid.NewString()+"/retry", form); status != http.StatusNotFound {
		t.Errorf("retry of an unknown one: %d", status)
	}
}

// A change is made only if it is allowed, sent by the page itself, and confirmed.
func TestChangesRefused(t *testing.T) {
	t.Parallel()
	s := newService(t, func(cfg *ui.Config) { cfg.AllowWrites = true })
	id := s.enqueue(message("t", "k", ""))[0]
	s.exec(`UPDATE outbox_messages SET status = 'dead', attempts = 7`)
	path := "/outbox/" + id.String()
	token := s.token(path)
	good := url.Values{"csrf": {token}, "confirm": {"yes"}, "reason": {"r"}}
	with := func(name, value string) url.Values {
		form := url.Values{}
		for key, values := range good {
			form[key] = values
		}
		form.Set(name, value)
		return form
	}
	for name, c := range map[string]struct {
		form   url.Values
		header []string
		want   int
	}{
		"no token":       {with("csrf", ""), nil, http.StatusForbidden},
		"wrong token":    {with("csrf", strings.Repeat("A", len(token))), nil, http.StatusForbidden},
		"not confirmed":  {with("confirm", ""), nil, http.StatusBadRequest},
		"other site":     {good, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"same site":      {good, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"other origin":   {good, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"no form":        {nil, nil, http.StatusForbidden},
		"control":        {with("reason", "a\x00b"), nil, http.StatusBadRequest},
		"long":           {with("reason", strings.Repeat("x", 256)), nil, http.StatusBadRequest},
		"too large":      {with("reason", strings.Repeat("x", 100<<10)), nil, http.StatusRequestEntityTooLarge},
		"not a form":     {good, []string{"Content-Type", "text/plain"}, http.StatusForbidden},
		"bad escape":     {nil, []string{"Content-Type", "application/x-www-form-urlencoded; charset"}, http.StatusBadRequest},
		"reason is void": {with("reason", " "), nil, http.StatusBadRequest},
	} {
		if status, _, body := s.post(path+"/discard", c.form, c.header...); status != c.want {
			t.Errorf("%s: status %d, want %d\n%s", name, status, c.want, body)
		}
	}
	readOnly := serve(t, s.db, nil)
	readOnly.get("/")
	if status, _, body := readOnly.post(path+"/discard", good); status != http.StatusForbidden || !strings.Contains(body, "--allow-writes") {
		t.Errorf("read-only: status %d\n%s", status, body)
	}
	if body := readOnly.shows(path, http.StatusOK); strings.Contains(body, "<form method=\"post\"") {
		t.Errorf("read-only, and it offers changes:\n%s", body)
	}
	// A browser without the cookie has no valid token, whatever it sends.
	res, err := http.PostForm(s.url+path+"/discard", good)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := read(t, res); status != http.StatusForbidden {
		t.Errorf("without the cookie: %d", status)
	}
	if s.status(id) != outbox.Dead {
		t.Errorf("one of them discarded it: %s", s.status(id))
	}
	if status, _, body := s.post(path+"/discard", good); status != http.StatusSeeOther {
		t.Errorf("all is right: %d\n%s", status, body)
	}
	req := httptest.NewRequest(http.MethodGet, "/outbox/"+id.String()+"/discard", nil)
	if status, _ := s.get(req.URL.Path); status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
		t.Errorf("by GET: %d", status)
	}
}
