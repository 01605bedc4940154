package wire

import (
	"encoding/binary"
	"fmt"
)

// Method is the payload of a method frame.
type Method interface {
	// ID returns the class in the upper and the method in the lower sixteen
	// bits.
	ID() uint32
	walk(*coder)
}

const (
	classConnection = 10
	classChannel    = 20
	classExchange   = 40
	classQueue      = 50
	classBasic      = 60
	classConfirm    = 85
	classTx         = 90
)

// Name returns a method's name in the standard, such as "queue.declare", or ""
// if it is unknown.
func Name(id uint32) string { return methods[id].name }

// ErrUnknownMethod is the error of [ParseMethod] for a method that the standard does not have.
type ErrUnknownMethod struct{ ID uint32 }

func (e *ErrUnknownMethod) Error() string {
	return fmt.Sprintf("unknown method %d of class %d", e.ID&0xFFFF, e.ID>>16)
}

func (e *ErrUnknownMethod) Unwrap() error { return ErrMalformed }

// ParseMethod parses a method frame's payload. The result does not alias
// payload.
func ParseMethod(payload []byte) (Method, error) {
	if len(payload) < 4 {
		return nil, malformed("method frame of %d bytes", len(payload))
	}
	id := binary.BigEndian.Uint32(payload)
	known, ok := methods[id]
	if !ok {
		return nil, &ErrUnknownMethod{ID: id}
	}
	m := known.make()
	c := coder{buf: payload[4:], reading: true}
	m.walk(&c)
	if c.err == nil && len(c.buf) > 0 {
		c.fail("%d bytes too many", len(c.buf))
	}
	if c.err != nil {
		return nil, &FrameError{Text: "cannot decode " + Erlang(payload[4:])}
	}
	return m, nil
}

// MethodID returns the method in a frame's payload, 0 if there is none.
func MethodID(payload []byte) uint32 {
	if len(payload) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(payload)
}

type methodKind struct {
	name string
	make func() Method
}

func kind[M any, P interface {
	*M
	Method
}](name string) methodKind {
	return methodKind{name: name, make: func() Method { return P(new(M)) }}
}

var methods = func() map[uint32]methodKind {
	byID := make(map[uint32]methodKind)
	for _, k := range []methodKind{
		kind[ConnectionStart]("connection.start"), kind[ConnectionStartOk]("connection.start-ok"),
		kind[ConnectionSecure]("connection.secure"), kind[ConnectionSecureOk]("connection.secure-ok"),
		kind[ConnectionTune]("connection.tune"), kind[ConnectionTuneOk]("connection.tune-ok"),
		kind[ConnectionOpen]("connection.open"), kind[ConnectionOpenOk]("connection.open-ok"),
		kind[ConnectionClose]("connection.close"), kind[ConnectionCloseOk]("connection.close-ok"),
		kind[ConnectionBlocked]("connection.blocked"), kind[ConnectionUnblocked]("connection.unblocked"),
		kind[ConnectionUpdateSecret]("connection.update-secret"),
		kind[ConnectionUpdateSecretOk]("connection.update-secret-ok"),
		kind[ChannelOpen]("channel.open"), kind[ChannelOpenOk]("channel.open-ok"),
		kind[ChannelFlow]("channel.flow"), kind[ChannelFlowOk]("channel.flow-ok"),
		kind[ChannelClose]("channel.close"), kind[ChannelCloseOk]("channel.close-ok"),
		kind[ExchangeDeclare]("exchange.declare"), kind[ExchangeDeclareOk]("exchange.declare-ok"),
		kind[ExchangeDelete]("exchange.delete"), kind[ExchangeDeleteOk]("exchange.delete-ok"),
		kind[ExchangeBind]("exchange.bind"), kind[ExchangeBindOk]("exchange.bind-ok"),
		kind[ExchangeUnbind]("exchange.unbind"), kind[ExchangeUnbindOk]("exchange.unbind-ok"),
		kind[QueueDeclare]("queue.declare"), kind[QueueDeclareOk]("queue.declare-ok"),
		kind[QueueBind]("queue.bind"), kind[QueueBindOk]("queue.bind-ok"),
		kind[QueueUnbind]("queue.unbind"), kind[QueueUnbindOk]("queue.unbind-ok"),
		kind[QueuePurge]("queue.purge"), kind[QueuePurgeOk]("queue.purge-ok"),
		kind[QueueDelete]("queue.delete"), kind[QueueDeleteOk]("queue.delete-ok"),
		kind[BasicQos]("basic.qos"), kind[BasicQosOk]("basic.qos-ok"),
		kind[BasicConsume]("basic.consume"), kind[BasicConsumeOk]("basic.consume-ok"),
		kind[BasicCancel]("basic.cancel"), kind[BasicCancelOk]("basic.cancel-ok"),
		kind[BasicPublish]("basic.publish"), kind[BasicReturn]("basic.return"), kind[BasicDeliver]("basic.deliver"),
		kind[BasicGet]("basic.get"), kind[BasicGetOk]("basic.get-ok"), kind[BasicGetEmpty]("basic.get-empty"),
		kind[BasicAck]("basic.ack"), kind[BasicReject]("basic.reject"), kind[BasicNack]("basic.nack"),
		kind[BasicRecoverAsync]("basic.recover-async"),
		kind[BasicRecover]("basic.recover"), kind[BasicRecoverOk]("basic.recover-ok"),
		kind[ConfirmSelect]("confirm.select"), kind[ConfirmSelectOk]("confirm.select-ok"),
		kind[TxSelect]("tx.select"), kind[TxSelectOk]("tx.select-ok"), kind[TxCommit]("tx.commit"), kind[TxCommitOk]("tx.commit-ok"),
		kind[TxRollback]("tx.rollback"), kind[TxRollbackOk]("tx.rollback-ok"),
	} {
		byID[k.make().ID()] = k
	}
	return byID
}()
