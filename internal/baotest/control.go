package baotest

import "time"

// Mount adds an engine at a path such as "database/creds/orders". Its functions are
// called one at a time.
func (s *Server) Mount(path string, engine Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engines[path] = engine
}

// Unmount makes requests for a path answer 403, as when a policy no longer allows
// them. Users that were made stay.
func (s *Server) Unmount(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.engines, path)
}

// Put stores a secret of the key-value engine.
func (s *Server) Put(path string, fields map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kv[path] = fields
}

// SetTokenTTL sets how long tokens of later logins last, and how long they can be
// renewed.
func (s *Server) SetTokenTTL(ttl, max time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokenTTL, s.tokenMaxTTL = ttl, max
}

// Seal makes every request answer 503.
func (s *Server) Seal() { s.disturb(sealed) }

// Hang makes requests wait until Work.
func (s *Server) Hang() { s.disturb(hanging) }

func (s *Server) disturb(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Work ends what Seal or Hang began.
func (s *Server) Work() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == hanging {
		close(s.released)
		s.released = make(chan struct{})
	}
	s.fault = none
}

// RevokeTokens forgets all tokens, and deletes the users that were made for them.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.tokens {
		s.revokeToken(id)
	}
}

// RevokeLeases deletes all users that were made.
func (s *Server) RevokeLeases() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.leases {
		s.revoke(id)
	}
}

// Expire deletes what has expired by now, as the server does by itself.
func (s *Server) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
}

// Users returns how many users exist.
func (s *Server) Users() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	return len(s.leases)
}

// Requests returns how many requests matched a pattern such as
// "PUT /v1/sys/leases/renew".
func (s *Server) Requests(pattern string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[pattern]
}
