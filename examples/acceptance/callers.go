package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Tokens are bearer tokens of one kind, such as JWTs. What an empty one would
// show is not looked at.
type Tokens struct {
	// All may do everything.
	All string
	// ReadOnly lacks the scope orders:write.
	ReadOnly string
	// OfCustomer may do everything for the customer acceptance-customer, and
	// nothing for others.
	OfCustomer string
	// Expired was good once.
	Expired string
}

// bearer returns the headers of a request with this token.
func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// asProblem checks that a refusal is a problem document (RFC 9457) with a
// challenge, and has the one shape of refusals within.
func asProblem(a answer, status int, code string) error {
	p, err := decode[struct {
		Type, Title, Detail string
		Status              int
	}](a, status)
	switch {
	case err != nil:
		return err
	case a.header.Get("Content-Type") != "application/problem+json":
		return a.wrong("want a problem document, not %q", a.header.Get("Content-Type"))
	case p.Type == "" || p.Title != http.StatusText(status) || p.Status != status || p.Detail == "":
		return a.wrong("want a problem document with type, title, status and detail")
	case !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer "):
		return a.wrong("want a challenge, not %q", a.header.Get("WWW-Authenticate"))
	}
	a.header = a.header.Clone()
	a.header.Set("Content-Type", "application/json")
	return refused(a, status, code)
}

// strangersAreRefused comes without a token, and with tokens that are none.
func strangersAreRefused(ctx context.Context, v *visitor) error {
	var problems []error
	told := map[string]string{} // by what was sent, without ids
	for about, headers := range map[string][]string{
		"nothing":             {"Authorization", ""},
		"a password":          {"Authorization", "Basic YWRtaW46YWRtaW4="},
		"an empty token":      {"Authorization", "Bearer "},
		"an invented token":   bearer("pulse_AAAAAAAAAAAAAAAAAAAAAAAAAA"),
		"an invented JWT":     bearer("eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0."),
		"two tokens":          append(bearer(v.Tokens[0].All), bearer(v.Tokens[0].All)...),
		"a token and a blank": bearer(v.Tokens[0].All + " x"),
	} {
		for _, url := range []string{v.OrdersURL + "/orders", v.OrdersURL + "/nowhere", v.NotificationsURL + "/notifications?orderId=0198c0de-7a10-7f00-8a44-3e2d1c0b9a87"} {
			a, err := v.ask(ctx, http.MethodGet, url, "", headers...)
			if err == nil {
				err = asProblem(a, http.StatusUnauthorized, "unauthorized")
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", about, err))
			}
			told[about] = string(a.body)
		}
		a, err := v.ask(ctx, http.MethodGet, v.OrdersURL+"/health/ready", "", headers...)
		if err == nil && a.status != http.StatusOK {
			err = a.wrong("want health to be told to everybody")
		}
		problems = append(problems, err)
	}
	for _, tokens := range v.Tokens {
		if tokens.Expired == "" {
			continue
		}
		a, err := v.ask(ctx, http.MethodGet, v.OrdersURL+"/orders", "", bearer(tokens.Expired)...)
		if err == nil {
			err = asProblem(a, http.StatusUnauthorized, "unauthorized")
		}
		if err == nil && string(a.body) != told["an invented token"] {
			err = a.wrong("a token that was good once is told apart from one that never was")
		}
		problems = append(problems, err)
	}
	a, err := v.ask(ctx, http.MethodGet, v.OrdersURL+"/orders?access_token="+v.Tokens[0].All, "", "Authorization", "")
	if err == nil && a.status != http.StatusUnauthorized {
		err = a.wrong("want a token in an address, which ends in logs, to count for nothing")
	}
	return errors.Join(append(problems, err)...)
}

// scopesAreKept tries what a token does not allow.
func scopesAreKept(ctx context.Context, v *visitor) error {
	var problems []error
	for _, tokens := range v.Tokens {
		if tokens.ReadOnly == "" {
			continue
		}
		for _, url := range []string{v.OrdersURL + "/orders", v.NotificationsURL + "/notifications?orderId=0198c0de-7a10-7f00-8a44-3e2d1c0b9a87"} {
			a, err := v.ask(ctx, http.MethodGet, url, "", bearer(tokens.ReadOnly)...)
			if err == nil && a.status != http.StatusOK {
				err = a.wrong("want a token that may read to read")
			}
			problems = append(problems, err)
		}
		a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", someOrder, bearer(tokens.ReadOnly)...)
		if err == nil {
			err = asProblem(a, http.StatusForbidden, "forbidden")
		}
		if err == nil && !strings.Contains(a.header.Get("WWW-Authenticate"), `scope="orders:write"`) {
			err = a.wrong("want the challenge to name the scope, not %q", a.header.Get("WWW-Authenticate"))
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// customersAreKeptApart tries to see and to place what is another customer's.
func customersAreKeptApart(ctx context.Context, v *visitor) error {
	const ours, theirs = "acceptance-customer", "acceptance-other"
	others, err := v.place(ctx, `{"customerId":"`+theirs+`","amount":3}`)
	if err != nil {
		return err
	}
	if _, err := v.awaitNotification(ctx, others.OrderID); err != nil {
		return err
	}
	var problems []error
	for _, tokens := range v.Tokens {
		if tokens.OfCustomer == "" {
			continue
		}
		as := bearer(tokens.OfCustomer)
		own, err := v.place(ctx, `{"customerId":"`+ours+`","amount":2}`, as...)
		if err != nil {
			return err
		}
		refusals := []struct {
			method, url, body string
			check             func(answer) error
		}{
			{http.MethodPost, v.OrdersURL + "/orders", `{"customerId":"` + theirs + `","amount":2}`, func(a answer) error {
				return asProblem(a, http.StatusForbidden, "forbidden")
			}},
			{http.MethodGet, v.OrdersURL + "/orders/" + others.OrderID, "", func(a answer) error {
				return refused(a, http.StatusNotFound, "order_not_found") // as if there were none
			}},
			{http.MethodGet, v.NotificationsURL + "/notifications?orderId=" + others.OrderID, "", func(a answer) error {
				if list, err := decode[[]json.RawMessage](a, http.StatusOK); err != nil || len(list) > 0 {
					return a.wrong("want none of another customer's")
				}
				return nil
			}},
			{http.MethodGet, v.OrdersURL + "/orders/" + own.OrderID, "", func(a answer) error {
				_, err := decode[order](a, http.StatusOK)
				return err
			}},
			{http.MethodGet, v.OrdersURL + "/orders?limit=1000", "", func(a answer) error {
				list, err := decode[[]order](a, http.StatusOK)
				if err == nil && (len(list) == 0 || list[0].OrderID != own.OrderID) {
					err = errors.New("the newest order of the customer does not come first")
				}
				for _, o := range list {
					if o.CustomerID != ours {
						return fmt.Errorf("an order of %s is listed", o.CustomerID)
					}
				}
				return err
			}},
		}
		for _, r := range refusals {
			a, err := v.ask(ctx, r.method, r.url, r.body, as...)
			if err == nil {
				err = r.check(a)
			}
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
