package rabbitmq

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Raw is a delivery as AMQP carries it.
type Raw struct {
	Exchange        string // empty on a retry
	RoutingKey      string // the queue's name on a retry; Message.Topic keeps the first
	MessageID       string
	Type            string
	CorrelationID   string
	ReplyTo         string
	ContentType     string
	ContentEncoding string
	AppID           string
	UserID          string         // vouched for by the broker; empty on a retry
	Expiration      string         // empty on a retry, which it would cut short
	Priority        uint8          // of a queue with x-max-priority
	DeliveryMode    uint8          // 2: persistent
	Timestamp       time.Time      // in whole seconds
	Headers         map[string]any // everything, nested tables and arrays included; not to be changed
	Body            []byte         // not to be changed
}

// Interpreter completes or corrects msg, the message as it was read from raw:
// for producers with conventions of their own, such as an id in a header or a
// compressed body. An error makes the delivery undecodable; it goes to the
// dead letters, as it came.
//
// It is called for every copy of a message, those that come back from a retry
// included, and has to give all copies of an event the same id.
type Interpreter func(raw Raw, msg *inbox.Message) error

// Decode reads messages of another format, such as those of nestjs.Codec or
// cloudevents.Codec. Put it behind Gunzip and before what looks into the payload.
func Decode(codec wire.Decoder) Interpreter {
	return func(_ Raw, msg *inbox.Message) error {
		m := wire.Message{
			ID: msg.ID, Topic: msg.Topic, Type: msg.Type, Version: msg.Version, Key: msg.Key, Seq: msg.Seq,
			Payload: msg.Payload, ContentType: msg.ContentType, ContentEncoding: msg.ContentEncoding, Headers: msg.Headers,
			CorrelationID: msg.CorrelationID, CausationID: msg.CausationID, Producer: msg.Producer, OccurredAt: msg.OccurredAt,
			Signature: msg.Signature, Encryption: msg.Encryption,
		}
		if err := codec.Decode(&m); err != nil {
			return err
		}
		attempt := msg.Attempt
		*msg = inbox.FromWire(m)
		msg.Attempt = attempt
		return nil
	}
}

// IDFromHeader takes the id of messages without the property message_id from a
// header, or from several, joined by slashes: IDFromHeader("id") for Celery,
// IDFromHeader("x-source", "x-number") for two that are unique together. It
// leaves messages alone that have an id, or lack one of the headers.
func IDFromHeader(names ...string) Interpreter {
	return func(raw Raw, msg *inbox.Message) error {
		return setID(msg, names, func(name string) (string, bool) {
			value, found := wire.Scalar(raw.Headers[name])
			return value, found && value != ""
		})
	}
}

// IDFromJSON takes the id of messages without the property message_id from
// fields of the body, a JSON object: as IDFromHeader does from headers. Fields
// are strings or numbers.
func IDFromJSON(names ...string) Interpreter {
	return func(raw Raw, msg *inbox.Message) error {
		if hasID(msg) {
			return nil
		}
		var body map[string]json.RawMessage
		if json.Unmarshal(msg.Payload, &body) != nil {
			return nil // for another Interpreter, or the dead letters
		}
		return setID(msg, names, func(name string) (string, bool) {
			text := string(body[name])
			var value string
			if json.Unmarshal(body[name], &value) == nil {
				return value, value != ""
			}
			var number json.Number
			return text, json.Unmarshal(body[name], &number) == nil && number != ""
		})
	}
}

// IDFromBody makes a SHA-256 of topic and payload the id of messages without
// the property message_id. Two events that are equal in both are one event
// then, and only the first is applied: right for bodies that hold something
// unique, wrong for a body such as {"action":"ping"}.
func IDFromBody() Interpreter {
	return func(_ Raw, msg *inbox.Message) error {
		if !hasID(msg) {
			sum := sha256.New()
			_, _ = fmt.Fprintf(sum, "%d:%s", len(msg.Topic), msg.Topic) // a hash never fails
			_, _ = sum.Write(msg.Payload)
			msg.ID = "sha256:" + hex.EncodeToString(sum.Sum(nil))
		}
		return nil
	}
}

// TypeFromHeader takes the type of messages without the property type from a
// header, such as Celery's "task".
func TypeFromHeader(name string) Interpreter {
	return func(raw Raw, msg *inbox.Message) error {
		if msg.Type == "" {
			msg.Type, _ = wire.Scalar(raw.Headers[name])
		}
		return nil
	}
}

// Gunzip decompresses payloads whose content encoding is gzip, up to a limit in
// bytes. Copies of an event that were compressed apart are the same then. Put
// it before what looks into the payload.
func Gunzip(limit int64) Interpreter {
	return func(_ Raw, msg *inbox.Message) error {
		if !strings.EqualFold(msg.ContentEncoding, "gzip") {
			return nil
		}
		r, err := gzip.NewReader(bytes.NewReader(msg.Payload))
		if err != nil {
			return fmt.Errorf("content encoding gzip: %w", err)
		}
		plain, err := io.ReadAll(io.LimitReader(r, limit+1))
		switch {
		case err != nil:
			return fmt.Errorf("content encoding gzip: %w", err)
		case int64(len(plain)) > limit:
			return fmt.Errorf("content encoding gzip: more than %d bytes", limit)
		}
		msg.Payload, msg.ContentEncoding = plain, ""
		return nil
	}
}

func hasID(msg *inbox.Message) bool { return strings.TrimSpace(msg.ID) != "" }

// setID joins the values of all names, unless there is an id or one is missing.
func setID(msg *inbox.Message, names []string, value func(name string) (string, bool)) error {
	if hasID(msg) {
		return nil
	}
	parts := make([]string, len(names))
	for i, name := range names {
		var found bool
		if parts[i], found = value(name); !found {
			return nil
		}
	}
	msg.ID = strings.Join(parts, "/")
	return nil
}

// interpret runs the interpreters on what was read from d; readErr is why that
// was not all.
func interpret(d amqp.Delivery, all []Interpreter, msg *inbox.Message, readErr error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: an Interpreter panicked: %v", wire.ErrUndecodable, p)
		}
	}()
	if len(all) > 0 {
		raw := rawOf(d)
		for _, each := range all {
			if err := each(raw, msg); err != nil {
				return fmt.Errorf("%w: %w", wire.ErrUndecodable, err)
			}
		}
	}
	if err := wire.CheckID(msg.ID); err != nil {
		return errors.Join(fmt.Errorf("%w; for producers that put the id elsewhere, set SourceConfig.Interpret, with IDFromHeader for example", err), readErr)
	}
	return readErr
}

func rawOf(d amqp.Delivery) Raw {
	return Raw{
		Exchange: d.Exchange, RoutingKey: d.RoutingKey, MessageID: d.MessageId, Type: d.Type, CorrelationID: d.CorrelationId,
		ReplyTo: d.ReplyTo, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, AppID: d.AppId, UserID: d.UserId,
		Expiration: d.Expiration, Priority: d.Priority, DeliveryMode: d.DeliveryMode, Timestamp: d.Timestamp, Headers: d.Headers, Body: d.Body,
	}
}
