package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// maxLate bounds the channels that are kept open for answers that are late.
const maxLate = 32

// late holds the messages of one session that the broker has and does not
// confirm. Their channels stay open for a while: a message that is tried again
// meanwhile is not sent again, and an answer that comes after all is taken.
type late struct {
	mu       sync.Mutex
	waiting  map[string]*rabbit.UnknownError // by event id
	channels []lateChannel                   // oldest first
}

type lateChannel struct {
	channel  *rabbit.Confirmer
	messages map[string]*rabbit.UnknownError // by event id
	until    time.Time
}

// keep takes over a channel that was given up for want of confirms. What is
// stuck on it behind a message of another topic is not waited for.
func (l *late) keep(channel *rabbit.Confirmer, msgs []rabbit.Publishing, verdicts []error, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		l.waiting = make(map[string]*rabbit.UnknownError)
	}
	kept := lateChannel{channel, make(map[string]*rabbit.UnknownError), until}
	for i, verdict := range verdicts {
		unknown, ok := errors.AsType[*rabbit.UnknownError](verdict)
		if !ok || errors.Is(verdict, rabbit.ErrBehind) {
			continue
		}
		if wait, known, _ := unknown.Late(); known || wait != nil {
			id := msgs[i].MessageId
			l.waiting[id], kept.messages[id] = unknown, unknown
		}
	}
	l.channels = append(l.channels, kept)
	l.dropUntil(len(l.channels)-maxLate, time.Time{})
}

// dropUntil closes the first n channels, and those whose time was over at now.
func (l *late) dropUntil(n int, now time.Time) {
	l.channels = slices.DeleteFunc(l.channels, func(c lateChannel) bool {
		if n--; n < 0 && !c.until.Before(now) {
			return false
		}
		for id, unknown := range c.messages {
			if l.waiting[id] == unknown {
				delete(l.waiting, id)
			}
		}
		c.channel.Close()
		return true
	})
}

// recall returns those of msgs that need not be sent again, by index: they
// have their verdict, or may still get one.
func (l *late) recall(msgs []rabbit.Publishing, now time.Time) map[int]*rabbit.UnknownError {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.channels) == 0 {
		return nil
	}
	l.dropUntil(0, now)
	recalled := make(map[int]*rabbit.UnknownError)
	for i, m := range msgs {
		unknown := l.waiting[m.MessageId]
		if unknown == nil {
			continue
		}
		delete(l.waiting, m.MessageId) // a further copy in msgs is sent
		if wait, known, _ := unknown.Late(); known || wait != nil {
			recalled[i] = unknown
		}
	}
	return recalled
}

// await returns what has become of a message that was recalled: its verdict, or
// the error of then. A refusal is no verdict on the message, which is to be sent
// again: a queue that is full refuses at once, and RabbitMQ refuses the first
// message of a channel half a minute later where a quorum queue has no majority.
func (l *late) await(ctx context.Context, id string, unknown *rabbit.UnknownError) error {
	l.mu.Lock()
	wait, known, verdict := unknown.Late()
	l.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
		}
		l.mu.Lock()
		wait, known, verdict = unknown.Late()
		if wait != nil && l.keeps(id, unknown) {
			l.waiting[id] = unknown
		}
		l.mu.Unlock()
	}
	switch {
	case !known:
		return unknown
	case errors.Is(verdict, rabbit.ErrNacked):
		return fmt.Errorf("%w; then refused (nacked), too late for a queue that is full", unknown)
	}
	return verdict
}

// keeps reports whether the channel of a message is still kept. The answer of
// one that is not may be waited for in vain: a channel that is stuck does not
// get closed either.
func (l *late) keeps(id string, unknown *rabbit.UnknownError) bool {
	return slices.ContainsFunc(l.channels, func(c lateChannel) bool { return c.messages[id] == unknown })
}
