package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
)

// ErrNoTLS says that a connection does not use TLS.
var ErrNoTLS = errors.New("the connection does not use TLS")

// BehindPooler reports whether a connection pooler such as PgBouncer answers in
// place of the server. db must come from Open.
func BehindPooler(ctx context.Context, db *sqlx.DB) (pooled bool, err error) {
	err = onConn(ctx, db, func(c *stdlib.Conn) error {
		pooled, err = behindPooler(ctx, c)
		return err
	})
	return pooled, err
}

// Certificates returns the chain of the server's certificate, and that of the
// client's if there is one. db must come from Open. Without TLS the error is
// ErrNoTLS.
func Certificates(ctx context.Context, db *sqlx.DB) (server, client []*x509.Certificate, err error) {
	err = onConn(ctx, db, func(c *stdlib.Conn) error {
		secure, ok := c.Conn().PgConn().Conn().(*tls.Conn)
		if !ok {
			return ErrNoTLS
		}
		server = secure.ConnectionState().PeerCertificates
		if cfg := c.Conn().Config().TLSConfig; cfg != nil {
			for _, own := range cfg.Certificates {
				for _, raw := range own.Certificate {
					cert, err := x509.ParseCertificate(raw)
					if err != nil {
						return err
					}
					client = append(client, cert)
				}
			}
		}
		return nil
	})
	return server, client, err
}

// onConn calls do with a connection of the driver, which is returned to the
// pool.
func onConn(ctx context.Context, db *sqlx.DB, do func(*stdlib.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	var result error
	err = conn.Raw(func(c any) error {
		below, ok := c.(*stdlib.Conn)
		if !ok {
			return driver.ErrSkip
		}
		result = do(below)
		return nil
	})
	return errors.Join(result, err, conn.Close())
}
