package openbao

import (
	"context"
	"slices"
	"time"
)

// retryRenewal is how soon a renewal that failed is tried again.
const retryRenewal = time.Second

// lease is how long the server lets something be used. The zero value is none.
type lease struct {
	id        string
	from      time.Time     // when it was asked for
	ttl       time.Duration // from then on
	whole     time.Duration // what was granted first
	renewable bool
	endless   bool // a token that does not expire
}

func (l lease) zero() bool { return l.id == "" }

func (l lease) expired(now time.Time) bool {
	return !l.zero() && !l.endless && !now.Before(l.from.Add(l.ttl))
}

// ending reports whether less than a third of what was granted first is left,
// although it was renewed: the server renews no further. Who connects now gets a
// new user.
func (l lease) ending(now time.Time) bool {
	return !l.zero() && !l.endless && l.from.Add(l.ttl).Sub(now) < l.whole/3
}

// due is when the lease should be renewed.
func (l lease) due() time.Time { return l.from.Add(l.ttl / 2) }

// extended is the lease after a renewal that was asked for at a time.
func (l lease) extended(at time.Time, seconds int, renewable bool) lease {
	l.from, l.ttl, l.renewable = at, time.Duration(seconds)*time.Second, renewable
	return l
}

// Run renews the token and the leases until the context ends, whose cause is
// returned: so users that were made for this Client stay as long as their role
// allows. It starts nothing else and leaves no goroutine behind. Without Run they
// are renewed at connects only, and an idle service's connections are closed by the
// server when its user's lease expires.
func (c *Client) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		case <-c.wake:
		}
		timer.Reset(time.Until(c.renewAll(ctx)))
	}
}

// renewAll renews what is due, and returns when something is due next.
func (c *Client) renewAll(ctx context.Context) time.Time {
	next := time.Now().Add(time.Hour)
	earlier := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	c.mu.Lock()
	secrets := slices.Clone(c.secrets)
	c.mu.Unlock()
	if at, ok := c.renewToken(ctx); ok {
		earlier(at)
	}
	for _, s := range secrets {
		if at, ok := s.renewIfDue(ctx); ok {
			earlier(at)
		}
	}
	return next
}

// renewToken renews the token if it is due, and returns when it is due next. One
// that can be renewed no further is replaced by the request that needs the next.
func (c *Client) renewToken(ctx context.Context) (time.Time, bool) {
	if acquire(ctx, c.session) != nil {
		return time.Time{}, false
	}
	defer release(c.session)
	now := time.Now()
	if c.token.zero() || c.token.endless || !c.token.renewable || c.token.expired(now) || c.token.ending(c.token.from) {
		return time.Time{}, false
	}
	if now.Before(c.token.due()) {
		return c.token.due(), true
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	answer, err := c.api.Auth().Token().RenewSelfWithContext(ctx, int(c.token.whole.Seconds()))
	if err = brief(err); err != nil || answer == nil || answer.Auth == nil {
		c.log.WarnContext(ctx, "openbao: the token is not renewed", "error", err)
		if definite(err) {
			c.token = lease{} // the next request logs in
			return time.Time{}, false
		}
		return now.Add(retryRenewal), true
	}
	c.token = c.token.extended(now, answer.Auth.LeaseDuration, answer.Auth.Renewable)
	return c.token.due(), !c.token.ending(now)
}

// renewIfDue renews the lease of credentials if it is due, and returns when it is
// due next. Those that can be renewed no further, or are gone, are left for the next
// connect to replace.
func (s *Secret) renewIfDue(ctx context.Context) (time.Time, bool) {
	if acquire(ctx, s.lock) != nil {
		return time.Time{}, false
	}
	defer release(s.lock)
	now := time.Now()
	if s.lease.zero() || !s.lease.renewable || s.lease.expired(now) || s.lease.ending(s.lease.from) {
		return time.Time{}, false
	}
	if now.Before(s.lease.due()) {
		return s.lease.due(), true
	}
	if err := s.renew(ctx); err != nil {
		s.client.log.WarnContext(ctx, "openbao: the lease is not renewed", "path", s.path, "error", err)
		if definite(err) {
			s.user, s.password, s.lease = "", "", lease{}
			return time.Time{}, false
		}
		return now.Add(retryRenewal), true
	}
	return s.lease.due(), !s.lease.ending(now)
}
