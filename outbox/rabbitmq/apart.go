package rabbitmq

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

const (
	// apart is how many topics get channels of their own at once.
	apart = 32
	// apartLimit bounds, in StallTimeouts, how long a call goes on with that.
	apartLimit = 4
)

// sendApart sends again what was stuck behind a message without a confirm, each
// topic on a channel of its own, and puts the verdicts in place. RabbitMQ handles
// a channel's messages one after the other, and waits where a quorum queue
// without a majority does not take note of the channel; so a topic is judged by
// nothing but its own messages.
func (p *Publisher) sendApart(ctx context.Context, s *session, msgs []rabbit.Publishing, verdicts []error) {
	topics := make(map[string][]int)
	for i, verdict := range verdicts {
		if errors.Is(verdict, rabbit.ErrBehind) {
			topics[msgs[i].Key] = append(topics[msgs[i].Key], i)
		}
	}
	if len(topics) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, apartLimit*p.cfg.StallTimeout)
	defer cancel()
	turns := make(chan struct{}, apart)
	var calls sync.WaitGroup
	for _, places := range topics {
		calls.Go(func() {
			select {
			case turns <- struct{}{}:
				defer func() { <-turns }()
			case <-ctx.Done():
				return
			}
			// Each goroutine has places of its own.
			for chunk := range slices.Chunk(places, p.cfg.Window) {
				if !p.sendTopic(ctx, s, msgs, chunk, verdicts) {
					return
				}
			}
		})
	}
	calls.Wait()
}

// sendTopic sends messages of one topic on a channel of their own; false: there
// is none to be had.
func (p *Publisher) sendTopic(ctx context.Context, s *session, all []rabbit.Publishing, places []int, verdicts []error) bool {
	opening, cancel := context.WithTimeout(ctx, p.cfg.StallTimeout)
	defer cancel()
	channel, err := s.conn.Confirmer(opening, p.cfg.confirmer())
	if err != nil {
		return false
	}
	msgs := make([]rabbit.Publishing, len(places))
	for n, i := range places {
		msgs[n] = all[i]
	}
	answers := channel.Publish(ctx, msgs)
	s.keep(channel, msgs, answers)
	for n, i := range places {
		verdicts[i] = answers[n]
	}
	return true
}
