package rabbitmq

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// session is one connection with its channels, which are opened when they are
// first needed.
type session struct {
	conn  *rabbit.Conn
	cfg   *PublisherConfig
	turns chan struct{} // holds an element for each channel in use
	ended chan error    // holds the reason why the session is to end
	late  late

	mu   sync.Mutex
	idle []*rabbit.Confirmer // the one used last is the next to be used
}

func newSession(conn *rabbit.Conn, cfg *PublisherConfig) *session {
	return &session{conn: conn, cfg: cfg, turns: make(chan struct{}, cfg.Channels), ended: make(chan error, 1)}
}

// acquire waits for its turn and returns a channel that is returned with
// release.
func (s *session) acquire(ctx context.Context) (*rabbit.Confirmer, error) {
	select {
	case s.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if channel := s.pop(); channel != nil {
		return channel, nil
	}
	channel, err := s.conn.Confirmer(ctx, s.cfg.confirmer())
	if err != nil {
		<-s.turns
		return nil, err
	}
	return channel, nil
}

func (s *session) pop() *rabbit.Confirmer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for last := len(s.idle) - 1; last >= 0; last-- {
		channel := s.idle[last]
		s.idle = s.idle[:last]
		if channel.Err() == nil {
			return channel
		}
	}
	return nil
}

// release takes a channel back after a call.
func (s *session) release(channel *rabbit.Confirmer, msgs []rabbit.Publishing, verdicts []error) {
	s.keep(channel, msgs, verdicts)
	<-s.turns
}

// keep has a channel used again. One that was given up for want of confirms
// stays open for a while, but is not used again; nor is one that got a refusal,
// as RabbitMQ remembers with the channel that a quorum queue refuses, and does not
// always learn that there is room again.
func (s *session) keep(channel *rabbit.Confirmer, msgs []rabbit.Publishing, verdicts []error) {
	nacked := func(err error) bool { return errors.Is(err, rabbit.ErrNacked) }
	switch err := channel.Err(); {
	case errors.Is(err, rabbit.ErrNoConfirm):
		s.late.keep(channel, msgs, verdicts, time.Now().Add(s.cfg.ConfirmTimeout))
	case err != nil:
	case slices.ContainsFunc(verdicts, nacked) || !s.shelve(channel):
		channel.Close()
	}
}

// shelve puts a channel among the idle ones, unless there are enough.
func (s *session) shelve(channel *rabbit.Confirmer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) >= s.cfg.Channels {
		return false
	}
	s.idle = append(s.idle, channel)
	return true
}

// end makes the supervisor begin anew, with topology and all.
func (s *session) end(reason error) {
	select {
	case s.ended <- reason:
	default:
	}
}
