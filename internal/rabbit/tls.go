package rabbit

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSFromFiles returns the client side of a TLS connection from PEM files, all
// of them optional: caFile replaces the system's certificate authorities,
// certFile and keyFile (both or none) are the client's certificate, serverName
// is what the server's certificate must be made out to, by default the host
// of the URL. Every problem is reported at once. With no argument set it
// returns nil, which stands for the defaults.
func TLSFromFiles(caFile, certFile, keyFile, serverName string) (*tls.Config, error) {
	if caFile == "" && certFile == "" && keyFile == "" && serverName == "" {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12}
	var problems []error
	if caFile != "" {
		pool, err := certPool(caFile)
		if err != nil {
			problems = append(problems, err)
		}
		cfg.RootCAs = pool
	}
	switch {
	case certFile != "" && keyFile != "":
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			problems = append(problems, fmt.Errorf("client certificate: %w", err))
		}
		cfg.Certificates = []tls.Certificate{cert}
	case certFile != "":
		problems = append(problems, fmt.Errorf("client certificate %s: its key file is missing", certFile))
	case keyFile != "":
		problems = append(problems, fmt.Errorf("client key %s: its certificate file is missing", keyFile))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return cfg, nil
}

func certPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority %s: holds no PEM certificate", file)
	}
	return pool, nil
}
