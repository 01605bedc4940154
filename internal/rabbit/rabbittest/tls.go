package rabbittest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/asimalizada/pulse-events/internal/certtest"
)

// TLS is a TLS front before a broker, which asks clients for a certificate of
// the same authority.
type TLS struct {
	URL      string // amqps://127.0.0.1:…
	CAFile   string // the authority of both certificates
	CertFile string // a client's certificate
	KeyFile  string
}

// NewTLS starts a TLS front before the broker at the AMQP URL. It ends with
// the test.
func NewTLS(t testing.TB, brokerURL string) TLS {
	t.Helper()
	u, err := url.Parse(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	ca := certtest.NewAuthority(t)
	server := ca.Issue(t, x509.ExtKeyUsageServerAuth)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{server},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { relay(client, target) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	u.Scheme, u.Host = "amqps", listener.Addr().String()
	front := TLS{URL: u.String(), CAFile: ca.File(t)}
	front.CertFile, front.KeyFile = certtest.Files(t, ca.Issue(t, x509.ExtKeyUsageClientAuth))
	return front
}

// relay hands bytes on until either side ends.
func relay(client net.Conn, target string) {
	defer client.Close()
	broker, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer broker.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(broker, client)
		_ = broker.Close()
	})
	_, _ = io.Copy(client, broker)
	_ = client.Close()
	wg.Wait()
}
