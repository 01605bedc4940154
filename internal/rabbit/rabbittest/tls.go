package rabbittest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
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

	server *tlsServer
}

// tlsServer is what a front changes while it runs.
type tlsServer struct {
	mu     sync.Mutex
	config *tls.Config
	open   map[net.Conn]bool
	closed bool
}

// NewTLS starts a TLS front before the broker at the AMQP URL. It ends with
// the test.
func NewTLS(t testing.TB, brokerURL string) TLS {
	t.Helper()
	u, err := url.Parse(brokerURL)
	if err != nil {
		t.Fatal(err)
	}
	target, dir := u.Host, t.TempDir()
	server := &tlsServer{open: make(map[net.Conn]bool)}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server.now(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme, u.Host = "amqps", listener.Addr().String()
	front := TLS{
		URL: u.String(), CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
		server: server,
	}
	front.Renew(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if server.begin(client) {
					relay(client, target)
				}
				server.end(client)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		server.hangUp(true)
		wg.Wait()
	})
	return front
}

// Renew replaces the certificates of both sides by those of another authority, in
// the same files, and ends all connections.
func (f TLS) Renew(t testing.TB) {
	t.Helper()
	ca := certtest.NewAuthority(t)
	cert, key := certtest.PEM(t, ca.Issue(t, x509.ExtKeyUsageClientAuth))
	authority, err := os.ReadFile(ca.File(t))
	if err != nil {
		t.Fatal(err)
	}
	f.server.mu.Lock()
	f.server.config = &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, x509.ExtKeyUsageServerAuth)},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	}
	f.server.mu.Unlock()
	for path, text := range map[string][]byte{f.CAFile: authority, f.CertFile: cert, f.KeyFile: key} {
		if err := errors.Join(os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	f.server.hangUp(false)
}

func (s *tlsServer) now() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}

// begin reports whether the connection may begin.
func (s *tlsServer) begin(client net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.open[client] = true
	}
	return !s.closed
}

func (s *tlsServer) end(client net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, client)
	_ = client.Close()
}

func (s *tlsServer) hangUp(forGood bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = forGood
	for client := range s.open {
		_ = client.(*tls.Conn).NetConn().Close() // says no goodbye, and waits for nobody
	}
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
