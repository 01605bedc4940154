package stack

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is longer than a development stack runs.
const certificateLife = 365 * 24 * time.Hour

// certificate is what the services of a stack prove who they are by: PEM files.
type certificate struct {
	CA, Cert, Key string
	client        *tls.Config // that trusts it
}

// issueCertificate makes an authority and a certificate by it for this machine and
// the hosts, and writes them to dir, except for the authority's key: that is used
// once and forgotten, so that nobody who trusts the authority trusts more than this.
func issueCertificate(dir string, hosts ...net.Addr) (c certificate, err error) {
	now := time.Now()
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: "pulsectl up, " + now.UTC().Format(time.DateTime)}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if name, err := os.Hostname(); err == nil {
		leaf.DNSNames = append(leaf.DNSNames, name)
	}
	for _, host := range hosts {
		if tcp, ok := host.(*net.TCPAddr); ok {
			leaf.IPAddresses = append(leaf.IPAddresses, tcp.IP)
		}
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return c, err
	}
	if authority, err = x509.ParseCertificate(authorityDER); err != nil {
		return c, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), crypto.Signer(authorityKey))
	if err != nil {
		return c, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return c, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c, fmt.Errorf("directory of the certificate: %w", err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		err = cmp.Or(err, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	c.CA, c.Cert, c.Key = write("ca.pem", "CERTIFICATE", authorityDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "PRIVATE KEY", keyDER)
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	c.client = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return c, err
}
