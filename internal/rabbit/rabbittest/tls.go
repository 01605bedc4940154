package rabbittest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// ServerName is what the certificate of a TLS front is made out to, besides
// 127.0.0.1.
const ServerName = "broker.test"

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
	ca := newAuthority(t)
	server := ca.issue(t, x509.ExtKeyUsageServerAuth)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{server},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
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
	front := TLS{URL: u.String()}
	dir := t.TempDir()
	front.CAFile = writePEM(t, dir, "ca.pem", "CERTIFICATE", ca.cert.Raw)
	client := ca.issue(t, x509.ExtKeyUsageClientAuth)
	front.CertFile = writePEM(t, dir, "client.pem", "CERTIFICATE", client.Certificate[0])
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	front.KeyFile = writePEM(t, dir, "client-key.pem", "PRIVATE KEY", key)
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

// authority is a certificate authority of one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	template := certificate("test authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	key := newKey(t)
	return authority{sign(t, template, template, key, key), key}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a authority) issue(t testing.TB, usage x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	template := certificate(ServerName)
	template.DNSNames, template.IPAddresses = []string{ServerName}, []net.IP{net.IPv4(127, 0, 0, 1)}
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{usage}
	key := newKey(t)
	return tls.Certificate{Certificate: [][]byte{sign(t, template, a.cert, key, a.key).Raw}, PrivateKey: key}
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func writePEM(t testing.TB, dir, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
