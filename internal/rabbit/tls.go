package rabbit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLSFiles names PEM files, all of them optional. CA replaces the system's
// certificate authorities, Cert and Key (both or none) are the client's
// certificate, ServerName is what the server's certificate must be made out
// to, by default the host of the URL.
type TLSFiles struct{ CA, Cert, Key, ServerName string }

// Load reads the files as they are now and returns the client side of a TLS
// connection. Every problem is reported at once. With nothing set it returns
// nil, which stands for the defaults.
func (f TLSFiles) Load() (*tls.Config, error) {
	if f == (TLSFiles{}) {
		return nil, nil
	}
	cfg := &tls.Config{ServerName: f.ServerName, MinVersion: tls.VersionTLS12}
	var problems []error
	if f.CA != "" {
		pool, err := certPool(f.CA)
		if err != nil {
			problems = append(problems, err)
		}
		cfg.RootCAs = pool
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
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return cfg, nil
}

// Get is for Config.GetTLS: files that are replaced while the program runs are
// read again at each attempt to connect. It is nil where no file is named.
func (f TLSFiles) Get() func(context.Context) (*tls.Config, error) {
	if f == (TLSFiles{}) {
		return nil
	}
	return func(context.Context) (*tls.Config, error) { return f.Load() }
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
