package chaos

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// makeRole makes a role for the run's processes. Its name is that of the schema. The
// observer becomes a member, so that it may terminate the role's sessions.
func (s *store) makeRole(ctx context.Context) error {
	s.role = account{s.schema, rand.Text()}
	s.memberURL = s.role.at(s.url)
	for _, statement := range []string{
		`CREATE ROLE ` + s.role.name, `GRANT ` + s.role.name + ` TO CURRENT_USER`,
		`GRANT USAGE ON SCHEMA ` + s.schema + ` TO ` + s.role.name, `GRANT ALL ON ALL SEQUENCES IN SCHEMA ` + s.schema + ` TO ` + s.role.name,
	} {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make a role: %w", err)
		}
	}
	return errors.Join(s.grant(ctx), s.letIn(ctx))
}

func (s *store) dropRole(ctx context.Context) error {
	if s.role.name == "" {
		return nil
	}
	if _, err := s.db.ExecContext(ctx, `DROP ROLE IF EXISTS `+s.role.name); err != nil {
		return fmt.Errorf("the role %s is left behind: %w", s.role.name, err)
	}
	return nil
}

// shutOut changes the role's password, and ends its sessions. A server may be
// configured to ask for none, so the role may not log in either.
func (s *store) shutOut(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, `ALTER ROLE `+s.role.name+` NOLOGIN PASSWORD '`+rand.Text()+`'`); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1`, s.role.name)
	return err
}

func (s *store) letIn(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `ALTER ROLE `+s.role.name+` LOGIN PASSWORD '`+s.role.password+`'`)
	return err
}

func (s *store) revoke(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `REVOKE ALL ON ALL TABLES IN SCHEMA `+s.schema+` FROM `+s.role.name)
	return err
}

func (s *store) grant(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `GRANT ALL ON ALL TABLES IN SCHEMA `+s.schema+` TO `+s.role.name)
	return err
}

// setClock moves the clock between two statements that insert messages: within one,
// its start would be later than its end, which no clock shows that is moved as a whole.
func (s *store) setClock(ctx context.Context, by time.Duration) error {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	if _, err := tx.ExecContext(ctx, `LOCK TABLE `+s.schema+`.outbox_messages IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		return err
	}
	if err := setClock(ctx, tx, s.schema, by); err != nil {
		return err
	}
	return tx.Commit()
}

// setClock moves the clock of all who have the schema before pg_catalog in their
// search path: functions of the schema take the place of the server's.
func setClock(ctx context.Context, db sqlx.ExecerContext, schema string, by time.Duration) error {
	for _, clock := range []struct{ name, volatility string }{
		{"now", "STABLE"}, {"transaction_timestamp", "STABLE"}, {"statement_timestamp", "STABLE"}, {"clock_timestamp", "VOLATILE"},
	} {
		_, err := db.ExecContext(ctx, fmt.Sprintf(`CREATE OR REPLACE FUNCTION %s.%s() RETURNS timestamptz LANGUAGE sql %s
			AS $$ SELECT pg_catalog.%[2]s() + interval '%[4]d seconds' $$`, schema, clock.name, clock.volatility, int(by.Seconds())))
		if err != nil {
			return err
		}
	}
	return nil
}
