package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// tlsFiles names PEM files: authorities that the broker's certificate is checked
// by, and the client's certificate with its key. All are optional.
type tlsFiles struct{ CA, Cert, Key string }

// load reads the files as they are now. With none named it returns nil, which
// stands for the defaults.
func (f tlsFiles) load() (*tls.Config, error) {
	if f == (tlsFiles{}) {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	var problems []error
	if f.CA != "" {
		cfg.RootCAs = x509.NewCertPool()
		switch pem, err := os.ReadFile(f.CA); {
		case err != nil:
			problems = append(problems, fmt.Errorf("certificate authority: %w", err))
		case !cfg.RootCAs.AppendCertsFromPEM(pem):
			problems = append(problems, fmt.Errorf("certificate authority %s: holds no PEM certificate", f.CA))
		}
	}
	switch {
	case f.Cert != "" && f.Key != "":
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			problems = append(problems, fmt.Errorf("client certificate: %w", err))
		}
		cfg.Certificates = []tls.Certificate{cert}
	case f.Cert != "":
		problems = append(problems, fmt.Errorf("client certificate %s: its key file is missing", f.Cert))
	case f.Key != "":
		problems = append(problems, fmt.Errorf("client key %s: its certificate file is missing", f.Key))
	}
	return cfg, errors.Join(problems...)
}

// get is for the field GetTLS of publisher and source, which ask at each
// connect: files may be replaced while the service runs.
func (f tlsFiles) get() func(context.Context) (*tls.Config, error) {
	if f == (tlsFiles{}) {
		return nil
	}
	return func(context.Context) (*tls.Config, error) { return f.load() }
}
