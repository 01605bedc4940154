package rabbit

import (
	"errors"
	"net/url"
	"strings"
)

const hidden = "xxxxx"

// RedactURL returns raw fit for logs and errors: without password and query.
// What cannot be parsed for sure loses everything before its last @.
func RedactURL(raw string) string {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		if strings.Contains(raw, "@") {
			return hidden
		}
		return raw
	}
	u, err := url.Parse(raw)
	if err == nil && strings.Count(rest, "@") <= 1 && !strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
		u.RawQuery, u.Fragment = "", ""
		return u.Redacted()
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = hidden + rest[at:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	return scheme + "://" + rest
}

// redact returns err with the URL and the password of raw hidden in its text,
// however they got there: the AMQP library quotes its arguments.
func redact(err error, raw string) error {
	if err == nil || raw == "" {
		return err
	}
	pairs := []string{raw, RedactURL(raw)}
	if u, parseErr := url.Parse(raw); parseErr == nil && u.User != nil {
		if password, _ := u.User.Password(); password != "" {
			_, encoded, _ := strings.Cut(u.User.String(), ":")
			for _, secret := range []string{encoded, password} {
				// A word such as guest is no secret, and would maim the
				// broker's own text, which names the user.
				if secret != u.User.Username() {
					pairs = append(pairs, secret, hidden)
				}
			}
		}
	}
	text := strings.NewReplacer(pairs...).Replace(err.Error())
	if text == err.Error() {
		return err
	}
	return &redactedError{text, err}
}

type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }

// Is and As look through to what the error is; there is no Unwrap, so that
// nobody comes upon the text that was hidden by walking the chain.
func (e *redactedError) Is(target error) bool { return errors.Is(e.err, target) }
func (e *redactedError) As(target any) bool   { return errors.As(e.err, target) }
