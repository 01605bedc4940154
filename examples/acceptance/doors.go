package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// webPagesAreKeptOut tries what a page in a developer's browser can do: a
// request that needs no leave, and a name of its own that leads to the service.
func webPagesAreKeptOut(ctx context.Context, v *visitor) error {
	var problems []error
	for _, c := range []struct {
		about   string
		headers []string
		status  int
		code    string
	}{
		{"a body that says to be text", []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType, "unsupported_media_type"},
		{"a form", []string{"Content-Type", "application/x-www-form-urlencoded"}, http.StatusUnsupportedMediaType, "unsupported_media_type"},
		{"another origin", []string{"Content-Type", "application/json", "Origin", "https://evil.example"}, http.StatusForbidden, "cross_origin"},
		{"a browser that tells of another site", []string{"Content-Type", "application/json", "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden, "cross_origin"},
		{"a name that is not the service's", []string{"Content-Type", "application/json", "Host", "evil.example"}, http.StatusMisdirectedRequest, "unknown_host"},
	} {
		a, err := v.send(ctx, http.MethodPost, v.OrdersURL+"/orders", someOrder, c.headers...)
		if err == nil {
			err = refused(a, c.status, c.code)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", c.about, err))
		}
	}
	a, err := v.send(ctx, http.MethodGet, v.NotificationsURL+"/notifications?orderId=0198c0de-7a10-7f00-8a44-3e2d1c0b9a87", "", "Host", "evil.example")
	if err == nil {
		err = refused(a, http.StatusMisdirectedRequest, "unknown_host")
	}
	return errors.Join(append(problems, err)...)
}

// maxRefusal is more than any refusal needs, in bytes.
const maxRefusal = 16 << 10

// refusalsStaySmall sends what is wrong in as many ways as fit.
func refusalsStaySmall(ctx context.Context, v *visitor) error {
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf(`"f%d":1`, i)
	}
	var problems []error
	for about, body := range map[string]string{
		"many unknown fields":         "{" + strings.Join(many, ",") + "}",
		"one field with a long name":  `{"` + strings.Repeat("<", 60_000) + `":1}`,
		"more depth than can be read": strings.Repeat("[", 60_000),
	} {
		a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", body)
		switch {
		case err != nil:
		case a.status != http.StatusBadRequest:
			err = a.wrong("want status 400")
		case len(a.body) > maxRefusal:
			err = a.wrong("the refusal has %d bytes", len(a.body))
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", about, err))
		}
	}
	return errors.Join(problems...)
}

// tellsNoNames checks that a health answer gives away neither where the broker
// is nor who logs in there.
func (v *visitor) tellsNoNames(a answer) error {
	u, err := url.Parse(v.AMQPURL)
	if err != nil || u.Host == "" {
		return nil // not told, or several
	}
	for _, name := range []string{u.Host, u.User.String(), "amqp://"} {
		if len(name) > 3 && strings.Contains(string(a.body), name) {
			return a.wrong("strangers learn %q", name)
		}
	}
	return nil
}
