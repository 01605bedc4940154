package rabbitmq

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/rabbit/routing"
)

// bindings looks up the bindings of the virtual host. Calls share looks.
type bindings struct {
	cfg    *PublisherConfig
	ctx    context.Context // of the publisher
	client *http.Client
	work   sync.WaitGroup

	mu      sync.Mutex
	last    *look
	running chan struct{} // closed when the look that goes on has ended; nil: none
}

// look is what was found.
type look struct {
	session *session // over whose connection messages are sent
	began   time.Time
	table   routing.Table
	bound   map[string]bool // queues with any binding
	err     error
}

func newBindings(ctx context.Context, cfg *PublisherConfig) *bindings {
	b := &bindings{cfg: cfg, ctx: ctx}
	b.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1, DialTLSContext: b.dialTLS}}
	return b
}

// since returns a look that began at a time or later, in a session: the last one,
// or the next.
func (b *bindings) since(ctx context.Context, s *session, at time.Time) *look {
	for {
		b.mu.Lock()
		if l := b.last; l != nil && l.session == s && !l.began.Before(at) {
			b.mu.Unlock()
			return l
		}
		if b.running == nil {
			b.running = make(chan struct{})
			b.work.Go(func() { b.look(s) })
		}
		running := b.running
		b.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return &look{err: context.Cause(ctx)}
		}
	}
}

// look looks once. It takes no longer than a topic may be silent.
func (b *bindings) look(s *session) {
	l := &look{session: s, began: time.Now()}
	ctx, cancel := context.WithTimeout(b.ctx, b.cfg.StallTimeout)
	defer cancel()
	l.err = b.read(ctx, s, l)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = l
	close(b.running)
	b.running = nil
}

func (b *bindings) read(ctx context.Context, s *session, l *look) error {
	base := b.cfg.ManagementURL
	if b.cfg.GetManagementURL != nil {
		var err error
		if base, err = b.cfg.GetManagementURL(ctx); err != nil {
			return err
		}
	}
	u, err := parseManagementURL(base)
	if err != nil {
		return err
	}
	vhost := url.PathEscape(s.conn.Config.Vhost)
	var exchanges []struct{ Name, Type string }
	if err := b.get(ctx, u, "/api/exchanges/"+vhost+"?columns=name,type", &exchanges); err != nil {
		return err
	}
	if err := b.get(ctx, u, "/api/bindings/"+vhost, &l.table.Bindings); err != nil {
		return err
	}
	l.table.Kinds = make(map[string]string, len(exchanges))
	for _, x := range exchanges {
		l.table.Kinds[x.Name] = x.Type
	}
	l.bound = make(map[string]bool)
	for _, binding := range l.table.Bindings {
		if binding.Source != "" && binding.ToQueue() { // every queue is bound to the default exchange
			l.bound[binding.Destination] = true
		}
	}
	return nil
}

// get reads what the API has under a path.
func (b *bindings) get(ctx context.Context, base *url.URL, path string, into any) error {
	user := base.User
	target := *base
	target.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String()+path, nil)
	if err != nil {
		return errors.New("the URL of the management API cannot be used")
	}
	if user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	res, err := b.client.Do(req)
	if err != nil {
		return fmt.Errorf("management API: %w", err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("management API at %s: %s; its user needs the tag management and permissions in the virtual host", base.Host, res.Status)
	default:
		return fmt.Errorf("management API at %s: %s", base.Host, res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("management API at %s: %w", base.Host, err)
	}
	return nil
}

// dialTLS connects with the certificates of now.
func (b *bindings) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	cfg := b.cfg.TLS
	if b.cfg.GetTLS != nil {
		var err error
		if cfg, err = b.cfg.GetTLS(ctx); err != nil {
			return nil, err
		}
	}
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return (&tls.Dialer{Config: cfg}).DialContext(ctx, network, address)
}

// close ends what goes on. The publisher's context has ended.
func (b *bindings) close() {
	b.work.Wait()
	b.client.CloseIdleConnections()
}
