package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/asimalizada/pulse-events/outbox/wire/contract"
	"github.com/asimalizada/pulse-events/outbox/wire/contract/registry"
)

// A registry that does not do what it should: clear errors, in bounded time.
func TestFaults(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, body) }
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		calls   int64
		says    string
	}{
		"hangs":        {hang, 3, "no answer within 50ms"},
		"half":         {func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "["); w.(http.Flusher).Flush(); hang(w, r) }, 3, "no answer within 50ms"},
		"500":          {answer(500, `{"error_code":50001,"message":"store is down"}`), 3, "500 Internal Server Error: store is down"},
		"503 of html":  {answer(503, "<html>\n"+strings.Repeat("x", 5000)), 3, "503 Service Unavailable: <html> xxx"},
		"429":          {answer(429, ""), 3, "429 Too Many Requests: no response"},
		"401":          {answer(401, `{"error_code":401,"message":"Unauthorized"}`), 1, "401 Unauthorized: Unauthorized (check user, password or token)"},
		"403":          {answer(403, `denied`), 1, "403 Forbidden: denied (check"},
		"garbage":      {answer(200, "<html>welcome"), 1, "not the answer of a schema registry"},
		"10 MB":        {answer(200, strings.Repeat("x", 10<<20)), 1, "the answer has more than 4194304 bytes"},
		"10 MB of 500": {answer(500, strings.Repeat("x", 10<<20)), 1, "the answer has more than 4194304 bytes"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "[")
		}, 3, "unexpected EOF"},
		"leads out": {func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/subjects":
				fmt.Fprint(w, `["a"]`)
			case strings.HasSuffix(r.URL.Path, "/versions"):
				fmt.Fprint(w, `[1]`)
			default:
				fmt.Fprint(w, `{"subject":"a","version":1,"schemaType":"JSON","schema":"{}","references":[{"name":"../../etc/passwd","subject":"b","version":1}]}`)
			}
		}, 3, `refers to "../../etc/passwd"`},
		"a name that leads out": {answer(200, `["../../a"]`), 1, `"../../a" is not the name of a contract`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls.Add(1); c.handler(w, r) }))
			t.Cleanup(server.Close)
			cfg := registry.Config{URL: strings.Replace(server.URL, "//", "//me:secret@", 1)}
			if strings.HasPrefix(c.says, "no answer") {
				cfg.Timeout = 50 * time.Millisecond
			}
			_, err := client(t, cfg).Pull(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 1000 || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want %q", err, c.says)
			}
			if cfg.Timeout == 0 && calls.Load() != c.calls { // a request that is too late may never get there
				t.Errorf("%d requests, want %d", calls.Load(), c.calls)
			}
		})
	}
}

// A registry that stumbles is asked again.
func TestRetry(t *testing.T) {
	fake := srfake.New()
	t.Cleanup(fake.Close)
	var calls atomic.Int64
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if calls.Add(1)%2 == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	c := client(t, registry.Config{URL: fake.URL()})
	if _, err := c.Push(t.Context(), directory(map[string]string{"a/1.json": "{}"}), registry.PushOptions{}); err != nil {
		t.Error(err)
	}
}

// Credentials are asked for at each request, so that they can change.
func TestCredentials(t *testing.T) {
	var current atomic.Pointer[registry.Credentials]
	fake := srfake.New(srfake.WithAuth("Bearer second"))
	t.Cleanup(fake.Close)
	cfg := registry.Config{URL: fake.URL(), Credentials: func(context.Context) (registry.Credentials, error) {
		if c := current.Load(); c != nil {
			return *c, nil
		}
		return registry.Credentials{}, errors.New("the file is empty")
	}}
	c := client(t, cfg)
	if _, err := c.Pull(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "credentials: the file is empty") {
		t.Errorf("without credentials: %v", err)
	}
	current.Store(&registry.Credentials{Token: "first"})
	if _, err := c.Pull(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a wrong token: %v", err)
	}
	current.Store(&registry.Credentials{Token: "second"})
	if _, err := c.Push(t.Context(), directory(map[string]string{"a/1.json": "{}"}), registry.PushOptions{}); err != nil {
		t.Error(err)
	}
	basic := srfake.New(srfake.WithAuth("Basic bWU6czpl")) // me, s:e
	t.Cleanup(basic.Close)
	if _, err := client(t, registry.Config{URL: strings.Replace(basic.URL(), "//", "//me:s%3Ae@", 1)}).Push(t.Context(), directory(map[string]string{"a/1.json": "{}"}), registry.PushOptions{}); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []registry.Config{{}, {URL: "registry"}, {URL: "ftp://registry"}, {URL: "http://r", Timeout: -1}, {URL: "http://r", MaxBytes: -1}} {
		if _, err := registry.New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

// A service starts with its registry down, gone wrong or emptied, with the contracts
// of an earlier start, and not without any.
func TestCached(t *testing.T) {
	fake := srfake.New()
	t.Cleanup(fake.Close)
	c := client(t, registry.Config{URL: fake.URL()})
	file := filepath.Join(t.TempDir(), "contracts.zip")
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	if _, err := c.Cached(t.Context(), file, "a"); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "none of an earlier start") {
		t.Errorf("the first start: %v", err)
	}
	fake.ClearInterceptors()
	if _, err := c.Push(t.Context(), directory(map[string]string{"a/1.json": `{"$ref":"../_s/m.json"}`, "_s/m.json": `{"type":"object"}`}), registry.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	fresh, err := c.Cached(t.Context(), file, "a")
	if err != nil || fresh.Stale != nil || len(texts(t, fresh.Files)) != 2 {
		t.Fatalf("%+v, %v", fresh, err)
	}
	for name, body := range map[string]string{"down": "", "garbage": "<html>", "no schema": `{"subject":"a","version":1,"schemaType":"JSON","schema":"{"}`} {
		fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if body == "" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			if strings.HasSuffix(r.URL.Path, "/versions") && strings.HasPrefix(body, "{") {
				fmt.Fprint(w, "[1]")
				return true
			}
			fmt.Fprint(w, body)
			return true
		})
		kept, err := c.Cached(t.Context(), file, "a")
		if err != nil || kept.Stale == nil || !reflect.DeepEqual(texts(t, kept.Files), texts(t, fresh.Files)) || kept.At.IsZero() {
			t.Errorf("%s: %+v, %v", name, kept, err)
		}
		if set, err := contract.Load(kept.Files, contract.Config{}); err != nil || len(set.All()) != 1 {
			t.Errorf("%s: %v, %v", name, set, err)
		}
		fake.ClearInterceptors()
	}
	fake.Reset() // no subjects any more
	if kept, err := c.Cached(t.Context(), file, "a"); err != nil || kept.Stale == nil {
		t.Errorf("emptied: %+v, %v", kept, err)
	}
	if err := os.WriteFile(file, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cached(t.Context(), file, "a"); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("a broken file: %v", err)
	}
	if left, err := filepath.Glob(file + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
