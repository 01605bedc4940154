package baotest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a server with one AppRole, one Kubernetes role, a key-value engine at
// "secret", and engines that tests add. Its methods may be called from several
// goroutines.
type Server struct {
	URL string

	t        testing.TB
	mu       sync.Mutex
	tokens   map[string]*token
	leases   map[string]*lease
	kv       map[string]map[string]string
	engines  map[string]Engine
	requests map[string]int // by pattern
	count    int
	fault    fault
	released chan struct{} // closed when requests hang no longer

	tokenTTL, tokenMaxTTL time.Duration
}

// Engine makes users. TTL is what a lease is granted for first and by a renewal,
// MaxTTL how long it can be in all.
type Engine struct {
	TTL, MaxTTL time.Duration
	Fixed       bool // leases cannot be renewed
	Make        func(number int) (user, password string)
	Delete      func(user string)
}

type token struct {
	made, expires time.Time
	max           time.Duration
}

type lease struct {
	token         string
	engine        Engine
	user          string
	made, expires time.Time
}

type fault int

const (
	none fault = iota
	sealed
	hanging
)

// The identities that the server accepts.
const (
	RoleID     = "7c3f2f3e-role"
	SecretID   = "4b1c9d0a-secret"
	Role       = "orders"
	PodToken   = "eyJhbGciOi.pod.token"
	GivenToken = "s.given"
)

// New starts a server. It is stopped when the test ends; users that are left then
// are the test's to delete.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t: t, tokens: map[string]*token{}, leases: map[string]*lease{}, kv: map[string]map[string]string{}, engines: map[string]Engine{}, requests: map[string]int{},
		tokenTTL: time.Hour, tokenMaxTTL: 24 * time.Hour, released: make(chan struct{}),
	}
	s.tokens[GivenToken] = &token{made: time.Now(), expires: time.Now().Add(time.Hour), max: time.Hour}
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request, string){
		"PUT /v1/auth/approle/login":       s.approle,
		"PUT /v1/auth/kubernetes/login":    s.kubernetes,
		"GET /v1/auth/token/lookup-self":   s.lookupSelf,
		"PUT /v1/auth/token/renew-self":    s.renewSelf,
		"PUT /v1/auth/token/revoke-self":   s.revokeSelf,
		"PUT /v1/sys/leases/renew":         s.renewLease,
		"PUT /v1/sys/leases/lookup":        s.lookupLease,
		"GET /v1/secret/data/{path...}":    s.readKV,
		"GET /v1/{mount}/creds/{role}":     s.makeUser,
		"GET /v1/{mount}/static-creds/{r}": s.staticUser,
	} {
		mux.HandleFunc(pattern, s.guarded(pattern, handle))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusForbidden, "permission denied") })
	server := httptest.NewServer(mux)
	s.URL = server.URL
	t.Cleanup(func() {
		s.Work()
		server.Close()
	})
	return s
}

// guarded applies the fault of the moment, and checks the token.
func (s *Server) guarded(pattern string, handle func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[pattern]++
		fault, released := s.fault, s.released
		s.mu.Unlock()
		switch fault {
		case sealed:
			refuse(w, http.StatusServiceUnavailable, "Vault is sealed")
			return
		case hanging:
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.expire()
		id := r.Header.Get("X-Vault-Token")
		if _, known := s.tokens[id]; !known && !strings.HasSuffix(r.URL.Path, "/login") {
			refuse(w, http.StatusForbidden, "permission denied")
			return
		}
		handle(w, r, id)
	}
}

// expire ends what has expired.
func (s *Server) expire() {
	now := time.Now()
	for id, t := range s.tokens {
		if now.After(t.expires) {
			s.revokeToken(id)
		}
	}
	for id, l := range s.leases {
		if now.After(l.expires) {
			s.revoke(id)
		}
	}
}

func (s *Server) revokeToken(id string) {
	delete(s.tokens, id)
	for lease, l := range s.leases {
		if l.token == id {
			s.revoke(lease)
		}
	}
}

func (s *Server) revoke(id string) {
	l := s.leases[id]
	delete(s.leases, id)
	if l.engine.Delete != nil {
		l.engine.Delete(l.user)
	}
}

func (s *Server) next(prefix string) string {
	s.count++
	return fmt.Sprintf("%s%d", prefix, s.count)
}

func answer(w http.ResponseWriter, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{reason}})
}

func body(r *http.Request) map[string]any {
	var fields map[string]any
	_ = json.NewDecoder(r.Body).Decode(&fields)
	return fields
}

func seconds(d time.Duration) int { return int(d.Round(time.Second).Seconds()) }
