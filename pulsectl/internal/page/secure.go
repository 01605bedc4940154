package page

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
)

// policy lets the page load scripts and styles from its own files alone, send
// forms to itself alone, and be framed by nobody. Nothing inline is allowed, so
// that text from messages can never run.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store") // assets set their own
}

// tokenCookie holds the token that forms have to repeat. A page of another origin
// can make a browser send the cookie, but cannot read it.
const tokenCookie = "pulse-csrf"

// maxToken limits the length of a token that is accepted.
const maxToken = 64

// token returns the token of a browser, and gives it one if it has none.
func (h *Handler) token(w http.ResponseWriter, r *http.Request) string {
	if c, err := r.Cookie(tokenCookie); err == nil && c.Value != "" && len(c.Value) <= maxToken {
		return c.Value
	}
	text := rand.Text()
	http.SetCookie(w, &http.Cookie{
		Name: tokenCookie, Value: text, Path: h.cfg.Prefix + "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
	return text
}

// sameToken reports whether a form comes from this page.
func sameToken(r *http.Request) bool {
	c, err := r.Cookie(tokenCookie)
	given := r.PostFormValue("csrf")
	return err == nil && c.Value != "" && subtle.ConstantTimeCompare([]byte(c.Value), []byte(given)) == 1
}
