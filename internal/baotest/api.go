package baotest

import (
	"net/http"
	"strings"
	"time"
)

func (s *Server) approle(w http.ResponseWriter, r *http.Request, _ string) {
	if fields := body(r); fields["role_id"] != RoleID || fields["secret_id"] != SecretID {
		refuse(w, http.StatusBadRequest, "invalid role or secret ID")
		return
	}
	s.grant(w)
}

func (s *Server) kubernetes(w http.ResponseWriter, r *http.Request, _ string) {
	if fields := body(r); fields["role"] != Role || fields["jwt"] != PodToken {
		refuse(w, http.StatusForbidden, "permission denied")
		return
	}
	s.grant(w)
}

func (s *Server) grant(w http.ResponseWriter) {
	id, now := s.next("hvs.login"), time.Now()
	s.tokens[id] = &token{made: now, expires: now.Add(s.tokenTTL), max: s.tokenMaxTTL}
	answer(w, map[string]any{"auth": map[string]any{
		"client_token": id, "policies": []string{"default", "orders"}, "lease_duration": seconds(s.tokenTTL), "renewable": true,
	}})
}

func (s *Server) lookupSelf(w http.ResponseWriter, _ *http.Request, id string) {
	answer(w, map[string]any{"data": map[string]any{
		"id": id, "ttl": seconds(time.Until(s.tokens[id].expires)), "renewable": true, "policies": []string{"default", "orders"},
	}})
}

func (s *Server) renewSelf(w http.ResponseWriter, _ *http.Request, id string) {
	t := s.tokens[id]
	t.expires = earlier(time.Now().Add(s.tokenTTL), t.made.Add(t.max))
	answer(w, map[string]any{"auth": map[string]any{
		"client_token": id, "lease_duration": seconds(time.Until(t.expires)), "renewable": true,
	}})
}

func (s *Server) revokeSelf(w http.ResponseWriter, _ *http.Request, id string) {
	s.revokeToken(id)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) renewLease(w http.ResponseWriter, r *http.Request, _ string) {
	id, _ := body(r)["lease_id"].(string)
	l, ok := s.leases[id]
	switch {
	case !ok:
		refuse(w, http.StatusBadRequest, "lease not found")
	case l.engine.Fixed:
		refuse(w, http.StatusBadRequest, "lease is not renewable")
	default:
		l.expires = earlier(time.Now().Add(l.engine.TTL), l.made.Add(l.engine.MaxTTL))
		answer(w, map[string]any{"lease_id": id, "renewable": true, "lease_duration": seconds(time.Until(l.expires))})
	}
}

func (s *Server) lookupLease(w http.ResponseWriter, r *http.Request, _ string) {
	id, _ := body(r)["lease_id"].(string)
	l, ok := s.leases[id]
	if !ok {
		refuse(w, http.StatusBadRequest, "invalid lease")
		return
	}
	answer(w, map[string]any{"data": map[string]any{"id": id, "renewable": !l.engine.Fixed, "ttl": seconds(time.Until(l.expires))}})
}

func (s *Server) readKV(w http.ResponseWriter, r *http.Request, _ string) {
	fields, ok := s.kv[r.PathValue("path")]
	if !ok {
		refuse(w, http.StatusNotFound, "")
		return
	}
	answer(w, map[string]any{"data": map[string]any{"data": fields, "metadata": map[string]any{"version": 1, "destroyed": false}}})
}

func (s *Server) makeUser(w http.ResponseWriter, r *http.Request, token string) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	engine, ok := s.engines[path]
	if !ok {
		refuse(w, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
		return
	}
	user, password := engine.Make(s.count)
	id, now := s.next(path+"/"), time.Now()
	s.leases[id] = &lease{token: token, engine: engine, user: user, made: now, expires: now.Add(engine.TTL)}
	answer(w, map[string]any{
		"lease_id": id, "lease_duration": seconds(engine.TTL), "renewable": !engine.Fixed, "data": map[string]any{"username": user, "password": password},
	})
}

func (s *Server) staticUser(w http.ResponseWriter, r *http.Request, _ string) {
	engine, ok := s.engines[strings.TrimPrefix(r.URL.Path, "/v1/")]
	if !ok {
		refuse(w, http.StatusBadRequest, "unknown role")
		return
	}
	user, password := engine.Make(0)
	answer(w, map[string]any{"data": map[string]any{"username": user, "password": password, "ttl": 60, "rotation_period": 86400}})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
