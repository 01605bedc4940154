package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"github.com/asimalizada/pulse-events/examples/internal/reload"
)

// Limits of a fetch of keys.
const (
	fetchTimeout           = 5 * time.Second
	defaultRefreshInterval = 5 * time.Minute
	defaultUnknownInterval = 10 * time.Second
	// retryInterval is between fetches while there are no keys at all.
	retryInterval = 5 * time.Second
	maxSet        = 1 << 20 // bytes
)

// keys are those that JWTs are signed with. Keys that were had once stay in
// force while their server is away.
type keys struct {
	file *reload.Files[keyfunc.Keyfunc] // nil: from url
	url  string

	client   *http.Client
	interval time.Duration
	log      *slog.Logger
	current  atomic.Pointer[keyfunc.Keyfunc]
	unknown  *rate.Limiter // of fetches because a key is not known
	fetching sync.Mutex
	failing  atomic.Bool // the last fetch failed, and the log says so
}

func newKeys(cfg JWT, log *slog.Logger) (*keys, error) {
	k := &keys{url: cfg.JWKSURL, client: cfg.Client, interval: cfg.RefreshInterval, log: log}
	if k.client == nil {
		k.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if k.interval == 0 {
		k.interval = defaultRefreshInterval
	}
	if cfg.UnknownKeyInterval == 0 {
		cfg.UnknownKeyInterval = defaultUnknownInterval
	}
	k.unknown = rate.NewLimiter(rate.Every(cfg.UnknownKeyInterval), 1)
	switch {
	case (cfg.JWKSURL == "") == (cfg.JWKSFile == ""):
		return nil, errors.New("give either the URL or the file of the keys")
	case cfg.JWKSFile != "":
		var err error
		k.file, err = reload.Open(log, one(parseKeys), cfg.JWKSFile)
		return k, err
	}
	u, err := url.Parse(cfg.JWKSURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errors.New("the URL of the keys has to begin with https://: whoever can change what comes from it makes tokens (http:// is allowed on 127.0.0.1 and localhost)")
	}
	return k, nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// parseKeys reads a JWK set (RFC 7517). One without keys is an error: a server
// that has lost them must not shut out everybody.
func parseKeys(text string) (keyfunc.Keyfunc, error) {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal([]byte(text), &set); err != nil || len(set.Keys) == 0 {
		return nil, errors.New("holds no JWK set with keys")
	}
	return keyfunc.NewJWKSetJSON(json.RawMessage(text))
}

// find returns the function that finds the key of a token.
func (k *keys) find(ctx context.Context) jwt.Keyfunc {
	if k.file != nil {
		return k.file.Get().KeyfuncCtx(ctx)
	}
	return func(token *jwt.Token) (any, error) {
		before := k.current.Load()
		if before != nil {
			key, err := (*before).KeyfuncCtx(ctx)(token)
			if !errors.Is(err, jwkset.ErrKeyNotFound) {
				return key, err
			}
		}
		// Tokens that name keys which do not exist must not make the service
		// ask the key server each time.
		if k.unknown.Allow() {
			k.refresh(context.WithoutCancel(ctx), before) // a client that hangs up must not cost the turn
		}
		after := k.current.Load()
		if after == nil {
			return nil, ErrUnavailable
		}
		return (*after).KeyfuncCtx(ctx)(token)
	}
}

// run fetches keys until ctx ends.
func (k *keys) run(ctx context.Context) error {
	for {
		k.refresh(ctx, k.current.Load())
		pause := k.interval
		if k.current.Load() == nil {
			pause = min(pause, retryInterval)
		}
		next := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			next.Stop()
			return nil
		case <-next.C:
		}
	}
}

// refresh fetches the keys, unless somebody has done so since the caller looked.
func (k *keys) refresh(ctx context.Context, seen *keyfunc.Keyfunc) {
	k.fetching.Lock()
	defer k.fetching.Unlock()
	if k.current.Load() != seen {
		return
	}
	set, err := k.fetch(ctx)
	if err != nil {
		if ctx.Err() == nil && !k.failing.Swap(true) {
			k.log.ErrorContext(ctx, "cannot fetch the keys of tokens; those had before stay in force", "url", k.url, "error", err)
		}
		return
	}
	if k.failing.Swap(false) {
		k.log.InfoContext(ctx, "the keys of tokens were fetched again", "url", k.url)
	}
	k.current.Store(&set)
}

func (k *keys) fetch(ctx context.Context) (keyfunc.Keyfunc, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the key server answers %s", res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxSet+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSet {
		return nil, fmt.Errorf("the key server sends more than %d bytes", maxSet)
	}
	return parseKeys(string(text))
}
