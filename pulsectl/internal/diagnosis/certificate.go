package diagnosis

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// soonExpired is how little time left is a failure.
const soonExpired = 7 * 24 * time.Hour

// judgeCertificates reports the first certificate of a chain that expires, and
// that of the client.
func (r *Report) judgeCertificates(check string, limit time.Duration, whose string, server, client []*x509.Certificate) {
	left := time.Duration(-1)
	for _, c := range []struct {
		whose string
		chain []*x509.Certificate
	}{{"the certificate of " + whose, server}, {"the client certificate for " + whose, client}} {
		for _, cert := range c.chain {
			until := time.Until(cert.NotAfter)
			name := cert.Subject.CommonName
			switch {
			case until <= 0:
				r.fail(check, "renew it; both libraries read new files at the next connect", "%s (%s) expired at %s", c.whose, name, cert.NotAfter.UTC().Format(time.RFC3339))
			case until < min(soonExpired, limit):
				r.fail(check, "renew it; both libraries read new files at the next connect", "%s (%s) expires in %s", c.whose, name, short(until))
			case until < limit:
				r.warn(check, "renew it; both libraries read new files at the next connect", "%s (%s) expires in %s", c.whose, name, short(until))
			default:
				if left < 0 || until < left {
					left = until
				}
			}
		}
	}
	if !r.has(check) && left > 0 {
		r.ok(check, "the first certificate expires in %s", short(left))
	}
}

// parsed returns the certificates of a configuration.
func parsed(all []tls.Certificate) (chain []*x509.Certificate, err error) {
	for _, own := range all {
		for _, raw := range own.Certificate {
			cert, err := x509.ParseCertificate(raw)
			if err != nil {
				return nil, err
			}
			chain = append(chain, cert)
		}
	}
	return chain, nil
}
