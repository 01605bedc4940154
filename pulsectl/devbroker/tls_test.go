package devbroker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// selfSigned returns a certificate for 127.0.0.1, and a pool that contains it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	certificate, pool := selfSigned(t)
	b := devbroker.NewTest(t, func(c *devbroker.Config) {
		c.TLSAddr = "127.0.0.1:0"
		c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	})
	plain := newSession(t, b.URL()) // beside it
	q := plain.queue(nil)
	secured := &session{T: t, url: b.TLSURL()}
	secured.conn = secured.dial(amqp.Config{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}}})
	secured.ch = secured.channel()
	secured.must(secured.ch.Confirm(false))
	body := strings.Repeat("x", 300_000)
	if !secured.confirmed("", q, persistent(body)) {
		t.Error("nacked")
	}
	if d := secured.get(q); string(d.Body) != body {
		t.Errorf("got %d bytes", len(d.Body))
	}
	if _, err := amqp.DialTLS(b.TLSURL(), &tls.Config{RootCAs: pool}); err == nil {
		t.Error("let in without a certificate")
	}
	secured.must(secured.conn.Close())

	if _, err := devbroker.Start(t.Context(), devbroker.Config{TLSAddr: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "TLS is missing") {
		t.Errorf("without a certificate: %v", err)
	}
}
