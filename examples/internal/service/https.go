package service

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	"github.com/asimalizada/pulse-events/examples/internal/reload"
)

// HTTPS names PEM files. With Cert and Key the service speaks HTTPS alone, and
// the zero value stands for HTTP. They are read again when they change; those of
// a half-done change are not used.
type HTTPS struct {
	// Cert, with all intermediate certificates, and its Key.
	Cert, Key string
	// ClientCA, if set, holds the authorities of client certificates, which all
	// requests need but those for health.
	ClientCA string
}

// on reports whether the service speaks HTTPS.
func (h HTTPS) on() bool { return h != (HTTPS{}) }

// open reads the files for the first time.
func (h HTTPS) open(log *slog.Logger) (*reload.Files[*tls.Config], error) {
	if h.Cert == "" || h.Key == "" {
		return nil, errors.New("a certificate and its key are both needed for HTTPS")
	}
	paths := []string{h.Cert, h.Key}
	if h.ClientCA != "" {
		paths = append(paths, h.ClientCA)
	}
	return reload.Open(log, serverConfig, paths...)
}

func serverConfig(pem []string) (*tls.Config, error) {
	cert, err := tls.X509KeyPair([]byte(pem[0]), []byte(pem[1]))
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if len(pem) > 2 {
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM([]byte(pem[2])) {
			return nil, errors.New("the file of client authorities holds no PEM certificate")
		}
		// Probes have no certificate; all else is refused without one by the guard.
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
		// A resumed session would go on with a certificate of a withdrawn authority.
		cfg.SessionTicketsDisabled = true
	}
	return cfg, nil
}

// newTLSConfig returns the configuration of a server whose handshakes use the
// files as they are then.
func newTLSConfig(files *reload.Files[*tls.Config]) *tls.Config {
	first := files.Get()
	return &tls.Config{
		MinVersion: first.MinVersion, NextProtos: first.NextProtos, SessionTicketsDisabled: first.SessionTicketsDisabled,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return files.Get(), nil },
	}
}
