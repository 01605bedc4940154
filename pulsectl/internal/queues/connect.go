package queues

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Connect opens a connection to the broker, which the caller closes.
func (q Reader) Connect(ctx context.Context) (*rabbit.Conn, error) {
	conn, err := rabbit.Dial(ctx, rabbit.Config{
		URL: q.Source.URL, GetURL: q.Source.GetURL, GetTLS: q.Source.GetTLS, Name: "pulsectl", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, fail.CannotReach("broker", err)
	}
	return conn, nil
}

// HasExchange reports whether the broker has an exchange of that name.
func HasExchange(ctx context.Context, conn *rabbit.Conn, name string) (bool, error) {
	err := conn.EnsureExchange(ctx, rabbit.Verify, rabbit.Exchange{Name: name, Kind: amqp.ExchangeTopic})
	var reply *amqp.Error
	if errors.As(err, &reply) && reply.Code == amqp.NotFound {
		return false, nil
	}
	return err == nil, err
}

// Consumers returns how many consumers a queue has.
func Consumers(ctx context.Context, conn *rabbit.Conn, queue string) (n int, err error) {
	err = conn.Do(ctx, func() error {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		if err != nil {
			return err
		}
		n = q.Consumers
		return ch.Close()
	})
	if err != nil {
		return 0, err // and n may still be written
	}
	return n, nil
}

// Alarm returns the reason for which the broker takes no messages, such as "low
// on memory", or "" if it takes them. A broker tells a connection only once that
// has published something, so a message is sent that no queue can get.
func Alarm(ctx context.Context, conn *rabbit.Conn) (reason string, err error) {
	_, changed := conn.Blocked()
	var confirm *amqp.DeferredConfirmation
	closed := make(chan *amqp.Error, 1)
	err = conn.Do(ctx, func() error {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		ch.NotifyClose(closed)
		if err := ch.Confirm(false); err != nil {
			return err
		}
		confirm, err = ch.PublishWithDeferredConfirm("", "pulsectl."+uuid.NewString(), false, false, amqp.Publishing{})
		return err
	})
	if err == nil {
		select {
		case <-confirm.Done():
			if !confirm.Acked() {
				err = errors.New("the broker closed the channel")
				if e := <-closed; e != nil {
					err = e
				}
			}
		case <-changed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if reason, _ = conn.Blocked(); reason != "" {
		return reason, nil
	}
	if err != nil {
		return "", fmt.Errorf("publish a message that no queue gets: %w", err)
	}
	return "", nil
}
