package rabbitmq

import (
	"context"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// session is one connection with its channels.
type session struct {
	conn  *rabbit.Conn
	cfg   *PublisherConfig
	free  chan *rabbit.Confirmer // one element for each call at a time; nil: still to be opened
	ended chan error             // holds the reason why the session is to end
}

func newSession(conn *rabbit.Conn, cfg *PublisherConfig) *session {
	s := &session{conn: conn, cfg: cfg, free: make(chan *rabbit.Confirmer, cfg.Channels), ended: make(chan error, 1)}
	for range cfg.Channels {
		s.free <- nil
	}
	return s
}

// acquire waits for its turn and returns a channel that is given back with
// release.
func (s *session) acquire(ctx context.Context) (*rabbit.Confirmer, error) {
	select {
	case channel := <-s.free:
		if channel != nil && channel.Err() == nil {
			return channel, nil
		}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	channel, err := s.conn.Confirmer(ctx, s.cfg.Window, s.cfg.ConfirmTimeout)
	if err != nil {
		s.free <- nil
		return nil, err
	}
	return channel, nil
}

func (s *session) release(channel *rabbit.Confirmer) {
	if channel.Err() != nil {
		channel = nil
	}
	s.free <- channel
}

// end makes the supervisor begin anew, with topology and all.
func (s *session) end(reason error) {
	select {
	case s.ended <- reason:
	default:
	}
}
