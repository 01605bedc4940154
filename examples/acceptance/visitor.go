package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// visitor asks the services as any client does.
type visitor struct {
	Target
	client *http.Client
}

// answer is one answer, read whole.
type answer struct {
	about  string // the request, for messages
	status int
	header http.Header
	body   []byte
}

// ask sends one request with JSON; headers are names and values in turn, the
// same name perhaps twice.
func (v *visitor) ask(ctx context.Context, method, url, body string, headers ...string) (answer, error) {
	return v.send(ctx, method, url, body, append(headers, "Content-Type", "application/json")...)
}

// send sends one request as it is, with the token that may do everything unless
// headers have one; an empty one is none.
func (v *visitor) send(ctx context.Context, method, url, body string, headers ...string) (answer, error) {
	a := answer{about: method + " " + url}
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	authorized := false
	for i := 0; i < len(headers); i += 2 {
		switch headers[i] {
		case "Host":
			req.Host = headers[i+1]
			continue
		case "Authorization":
			if authorized = true; headers[i+1] == "" {
				continue
			}
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	if !authorized && len(v.Tokens) > 0 {
		req.Header.Set("Authorization", "Bearer "+v.Tokens[0].All)
	}
	res, err := v.client.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	a.status, a.header = res.StatusCode, res.Header
	if a.body, err = io.ReadAll(res.Body); err != nil {
		return a, fmt.Errorf("%s: %w", a.about, err)
	}
	return a, nil
}

// wrong says what is wrong with the answer, and shows it.
func (a answer) wrong(format string, args ...any) error {
	text := string(a.body)
	if len(text) > 500 {
		text = text[:500] + "..."
	}
	return fmt.Errorf("%s: %s; answered %d %s", a.about, fmt.Sprintf(format, args...), a.status, strings.TrimSpace(text))
}

func decode[T any](a answer, status int) (v T, err error) {
	if a.status != status {
		return v, a.wrong("want status %d", status)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		return v, a.wrong("no such JSON as expected (%v)", err)
	}
	return v, nil
}

// placed is the answer to an order.
type placed struct{ OrderID, EventID, CorrelationID string }

// someOrder is an order of a customer who wants nothing special.
const someOrder = `{"customerId":"acceptance-customer","amount":77.5}`

// place places an order that has to be taken.
func (v *visitor) place(ctx context.Context, body string, headers ...string) (placed, error) {
	a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", body, headers...)
	if err != nil {
		return placed{}, err
	}
	return decode[placed](a, http.StatusCreated)
}

type notification struct {
	ID, OrderID, EventID, CustomerID, CorrelationID string
	Amount                                          json.Number
	CreatedAt                                       time.Time
}

func (v *visitor) notificationsOf(ctx context.Context, orderID string) ([]notification, error) {
	a, err := v.ask(ctx, http.MethodGet, v.NotificationsURL+"/notifications?orderId="+orderID, "")
	if err != nil {
		return nil, err
	}
	return decode[[]notification](a, http.StatusOK)
}

// awaitNotification waits for the notification of an order, which has to be
// the only one.
func (v *visitor) awaitNotification(ctx context.Context, orderID string) (n notification, err error) {
	err = v.until(ctx, "the notification of order "+orderID, func() (bool, error) {
		list, err := v.notificationsOf(ctx, orderID)
		if len(list) > 1 {
			err = fmt.Errorf("%d notifications of order %s, want one", len(list), orderID)
		}
		if err != nil || len(list) == 0 {
			return false, err
		}
		n = list[0]
		return true, nil
	})
	return n, err
}

// pause is the time between two looks.
const pause = 20 * time.Millisecond

// until looks until met, for as long as the visitor has patience.
func (v *visitor) until(ctx context.Context, what string, met func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, v.Patience)
	defer cancel()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if ok, err := met(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited %v in vain for %s", v.Patience, what)
		}
	}
}

// refusal is the one shape of answers other than success.
type refusal struct {
	Error *struct {
		Code, Message string
		Fields        []struct{ Field, Message string }
	}
}

// refused checks status, code and shape of an answer, and that it names these
// fields and no other.
func refused(a answer, status int, code string, fields ...string) error {
	r, err := decode[refusal](a, status)
	switch {
	case err != nil:
		return err
	case r.Error == nil || r.Error.Message == "" || r.Error.Fields == nil:
		return a.wrong("want an error with code, message and fields")
	case r.Error.Code != code:
		return a.wrong("want the code %q", code)
	case a.header.Get("x-correlation-id") == "":
		return a.wrong("want the header x-correlation-id")
	case !strings.HasPrefix(a.header.Get("Content-Type"), "application/json"):
		return a.wrong("content type is %q", a.header.Get("Content-Type"))
	}
	named := []string{}
	for _, f := range r.Error.Fields {
		if named = append(named, f.Field); f.Message == "" {
			return a.wrong("nothing is said about field %q", f.Field)
		}
	}
	slices.Sort(named)
	slices.Sort(fields)
	if !slices.Equal(named, fields) {
		return a.wrong("want the fields %q named, not %q", fields, named)
	}
	return nil
}

// sample reads a file of the repository's testdata, in whose tree the suite runs.
func sample[T any](path ...string) (v T, err error) {
	dir, err := os.Getwd()
	if err != nil {
		return v, err
	}
	for {
		text, err := os.ReadFile(filepath.Join(append([]string{dir, "testdata"}, path...)...))
		if err == nil {
			return v, json.Unmarshal(text, &v)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return v, errors.New("no testdata/" + strings.Join(path, "/") + " above the working directory")
		}
		dir = parent
	}
}
