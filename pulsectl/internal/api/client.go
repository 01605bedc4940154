// Package api calls the example services by HTTP.
package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// httpTimeout bounds one call of an example service.
const httpTimeout = 15 * time.Second

// maxAnswer limits how much of a response is read.
const maxAnswer = 16 << 20

// Client calls one of the example services.
type Client struct {
	what   string // for messages, such as "orders service"
	base   string
	token  string
	client http.Client
}

// Access is how a client is let in. The zero value has no token and the system's
// certificate authorities.
type Access struct {
	Token string // bearer token; empty: none
	TLS   *tls.Config
}

// New returns a client of the service at a base URL; what names it in messages.
func New(what, base string, access Access) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fail.Usagef("give a URL such as http://127.0.0.1:6101", "%s: %q is not a base URL", what, base)
	}
	c := &Client{what: what, base: strings.TrimRight(base, "/"), token: access.Token, client: http.Client{
		Timeout:       httpTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this address
	}}
	if access.TLS != nil {
		c.client.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: access.TLS, DisableKeepAlives: true}
	}
	return c, nil
}

// Call sends body (nil: none) and decodes the response into out. A response
// outside 2xx becomes an error that names every field the service named.
func (a *Client) Call(ctx context.Context, method, path string, header http.Header, body, out any) error {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, reader)
	if err != nil {
		return err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := a.client.Do(req)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
			return &fail.Error{Kind: fail.Unreachable, Message: "the " + a.what + " at " + a.base + " is not trusted", Cause: fail.Reason(err),
				Hint: "set PULSE_API_CA_FILE to the certificate authority, and use the name in its certificate"}
		}
		return &fail.Error{Kind: fail.Unreachable, Message: "cannot reach the " + a.what + " at " + a.base, Cause: fail.Reason(err),
			Hint: "start a stack with pulsectl up, or see pulsectl status"}
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fail.Wrap("cannot read the response of the "+a.what, err)
	}
	if res.StatusCode/100 != 2 {
		return a.refused(res, raw)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fail.Wrap("cannot read the response of the "+a.what, err)
	}
	return nil
}

func (a *Client) refused(res *http.Response, raw []byte) error {
	status := res.StatusCode
	var answer struct {
		Error struct {
			Message string `json:"message"`
			Fields  []struct {
				Field   string `json:"field"`
				Message string `json:"message"`
			} `json:"fields"`
		} `json:"error"`
	}
	kind, hint := fail.General, ""
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		kind = fail.Usage
	case http.StatusNotFound:
		kind = fail.NotFound
	case http.StatusUnauthorized:
		if a.token == "" {
			kind, hint = fail.Usage, "set PULSE_API_TOKEN_FILE or --api-token-file to a file with a token; pulsectl token new makes one"
		} else { // as credentials of a database that are refused
			kind, hint = fail.Unreachable, "check the token of PULSE_API_TOKEN_FILE or --api-token-file: it may have expired or been replaced; the service's log tells why"
		}
	case http.StatusForbidden:
		hint = "use a token with that right; pulsectl token new --scopes makes one"
	case http.StatusTooManyRequests:
		hint = "try again in " + cmp.Or(res.Header.Get("Retry-After"), "1") + " s"
	case http.StatusServiceUnavailable: // its database is down
		kind, hint = fail.Unreachable, "see which component is down: pulsectl status"
	}
	message := fmt.Sprintf("%s: %d %s", a.what, status, http.StatusText(status))
	if json.Unmarshal(raw, &answer) == nil && answer.Error.Message != "" {
		message = a.what + ": " + answer.Error.Message
		for _, f := range answer.Error.Fields {
			message += fmt.Sprintf("\n%s: %s", f.Field, f.Message)
		}
	}
	return fail.New(kind, hint, "%s", message)
}
