package relay

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
	"github.com/asimalizada/pulse-events/outbox/wire/nestjs"
)

// ParseFormat returns the encoder of a format by its name; nil for plain. source
// is the attribute of CloudEvents, and belongs to no other format.
func ParseFormat(name, source string) (wire.Encoder, error) {
	var encoder wire.Encoder
	switch name {
	case "plain":
	case "nestjs":
		encoder = nestjs.Codec{}
	case "cloudevents", "cloudevents-structured":
		codec := cloudevents.Codec{Source: source, Structured: name == "cloudevents-structured"}
		if source == "" {
			return nil, fmt.Errorf("%s needs a source: --source /orders", name)
		}
		return codec, codec.Validate()
	default:
		return nil, fmt.Errorf("unknown format %q; have plain, nestjs, cloudevents, cloudevents-structured", name)
	}
	if source != "" {
		return nil, fmt.Errorf("--source belongs to CloudEvents, not to %s", name)
	}
	return encoder, nil
}

// ParseTopology returns what is done about the exchange.
func ParseTopology(name string) (outboxrabbit.Topology, error) {
	for _, t := range []outboxrabbit.Topology{outboxrabbit.Declare, outboxrabbit.Verify, outboxrabbit.None} {
		if name == t.String() {
			return t, nil
		}
	}
	return outboxrabbit.Declare, fmt.Errorf("unknown topology %q; have declare, verify, none", name)
}

// ParseRetention returns how long published messages are kept: a duration,
// outbox.KeepForever for forever, outbox.DeleteOnPublish for delete.
func ParseRetention(text string) (time.Duration, error) {
	switch text {
	case "forever":
		return outbox.KeepForever, nil
	case "delete":
		return outbox.DeleteOnPublish, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is neither a duration such as 168h, nor forever, nor delete", text)
	}
	return d, nil
}

// ParseAddr returns an address to listen on, or "" for off.
func ParseAddr(text string) (string, error) {
	if text == "off" {
		return "", nil
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", errors.New(strconv.Quote(text) + " is neither HOST:PORT, such as 127.0.0.1:6108 or :6108, nor off")
	}
	return text, nil
}
